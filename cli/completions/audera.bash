# Completion of `audera` for bash. The program itself knows what fits, names of rooms and groups included.

_audera() {
    local status=0 found
    found=$(audera complete bash -- "${COMP_WORDS[@]:0:COMP_CWORD+1}" 2>/dev/null) || status=$?
    COMPREPLY=()
    if [ "$status" -eq 10 ]; then
        compopt -o default
    elif [ -n "$found" ]; then
        mapfile -t COMPREPLY <<<"$found"
    fi
}

complete -F _audera audera
