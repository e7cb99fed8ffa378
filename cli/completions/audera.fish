# Completion of `audera` for fish. The program itself knows what fits, names of rooms and groups included.

function __audera_complete
    set -l words (commandline --current-process --tokenize --cut-at-cursor)
    set -l found (audera complete fish -- $words (commandline --current-token --cut-at-cursor) 2>/dev/null)
    if test $status -eq 10
        __fish_complete_path (commandline --current-token --cut-at-cursor)
    else
        printf '%s\n' $found
    end
end

complete --command audera --no-files --keep-order --arguments '(__audera_complete)'
