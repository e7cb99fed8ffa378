//! Identities and the trust store on a real file system: permissions, corruption, and several writers at once.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;
use std::sync::Barrier;
use std::thread;

use audera_link::{Identity, IdentityError, PeerId, PinError, Pinned, StateFileError, TrustError, TrustStore};

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

fn id(last: u8) -> PeerId {
    let mut bytes = [0; 32];
    bytes[31] = last;
    PeerId::from(bytes)
}

fn names(dir: &Path) -> Vec<String> {
    let mut names: Vec<_> =
        fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn an_identity_stays_the_same_and_is_private() {
    let home = tempfile::tempdir().unwrap();
    let dir = home.path().join("state/audera");
    let made = Identity::load_or_create(&dir).unwrap();
    let again = Identity::load_or_create(&dir).unwrap();
    assert_eq!(made.id(), again.id());
    assert_eq!(mode(&dir), 0o700);
    assert_eq!(mode(&dir.join("identity.pem")), 0o600);
    assert_eq!(names(&dir), ["identity.pem", "identity.pem.lock"], "no temporary file is left");
    let other = Identity::load_or_create(&home.path().join("other")).unwrap();
    assert_ne!(made.id(), other.id());
    assert!(!format!("{made:?}").contains("PRIVATE"));
}

#[test]
fn openssl_computes_the_same_id() {
    let home = tempfile::tempdir().unwrap();
    let identity = Identity::load_or_create(home.path()).unwrap();
    let key = home.path().join("identity.pem");
    let script = "openssl pkey -in \"$0\" -pubout -outform DER | openssl dgst -sha256 -r";
    let output = Command::new("sh").args(["-c", script]).arg(&key).output().unwrap();
    let digest = String::from_utf8(output.stdout).unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(digest.split_whitespace().next(), Some(identity.id().to_string().as_str()), "{errors}");
}

#[test]
fn processes_that_start_at_once_agree() {
    // Threads open the lock file separately, so to flock(2) they are as strange to each other as processes.
    for _ in 0..10 {
        let home = tempfile::tempdir().unwrap();
        let dir = home.path().join("audera");
        let start = Barrier::new(8);
        let ids: Vec<PeerId> = thread::scope(|scope| {
            let starters: Vec<_> = (0..8)
                .map(|_| {
                    scope.spawn(|| {
                        start.wait();
                        Identity::load_or_create(&dir).unwrap().id()
                    })
                })
                .collect();
            starters.into_iter().map(|starter| starter.join().unwrap()).collect()
        });
        assert!(ids.iter().all(|id| *id == ids[0]), "{ids:?}");
        assert_eq!(Identity::load_or_create(&dir).unwrap().id(), ids[0]);
    }
}

#[test]
fn a_left_over_of_a_crash_does_no_harm() {
    let home = tempfile::tempdir().unwrap();
    set_mode(home.path(), 0o700);
    fs::write(home.path().join("identity.pem.new"), "half a k").unwrap();
    Identity::load_or_create(home.path()).unwrap();
    assert_eq!(mode(&home.path().join("identity.pem")), 0o600);
}

#[test]
fn a_key_that_others_can_read_is_refused_with_the_remedy() {
    let home = tempfile::tempdir().unwrap();
    Identity::load_or_create(home.path()).unwrap();
    let key = home.path().join("identity.pem");
    for open in [0o644, 0o640, 0o604, 0o660, 0o601] {
        set_mode(&key, open);
        let error = Identity::load_or_create(home.path()).unwrap_err();
        assert!(matches!(error, IdentityError::File(StateFileError::Permissions { .. })), "{error}");
        assert!(error.to_string().contains(&format!("chmod 600 '{}'", key.display())), "{error}");
    }
    set_mode(&key, 0o600);
    Identity::load_or_create(home.path()).unwrap();
}

#[test]
fn a_directory_that_others_can_write_is_refused() {
    let home = tempfile::tempdir().unwrap();
    set_mode(home.path(), 0o777);
    let error = Identity::load_or_create(home.path()).unwrap_err();
    assert!(error.to_string().contains("chmod go-w"), "{error}");
    set_mode(home.path(), 0o755);
    Identity::load_or_create(home.path()).unwrap();
}

#[test]
fn a_corrupt_key_is_refused_and_kept() {
    let home = tempfile::tempdir().unwrap();
    Identity::load_or_create(home.path()).unwrap();
    let key = home.path().join("identity.pem");
    let whole = fs::read(&key).unwrap();
    let half = whole[..whole.len() / 2].to_vec();
    let flipped: Vec<u8> = whole.iter().enumerate().map(|(at, &byte)| if at == 60 { b'!' } else { byte }).collect();
    for broken in [b"".to_vec(), b"hello\n".to_vec(), vec![0xff; 100], half, flipped] {
        fs::write(&key, &broken).unwrap();
        let error = Identity::load_or_create(home.path()).unwrap_err();
        assert!(matches!(error, IdentityError::Corrupt { .. }), "{error}");
        let text = error.to_string();
        assert!(text.contains(&key.display().to_string()) && text.contains("move it away"), "{text}");
        assert_eq!(fs::read(&key).unwrap(), broken, "it may be all the user has left; it is not overwritten");
    }
    fs::write(&key, vec![b'a'; (1 << 20) + 1]).unwrap();
    let error = Identity::load_or_create(home.path()).unwrap_err();
    assert!(matches!(error, IdentityError::File(StateFileError::TooLarge { .. })), "{error}");
}

#[test]
fn a_key_that_cannot_be_read_names_the_file() {
    let home = tempfile::tempdir().unwrap();
    let key = home.path().join("identity.pem");
    // A loop of links, since permissions do not stop a test that runs as root.
    symlink(&key, &key).unwrap();
    let error = Identity::load_or_create(home.path()).unwrap_err();
    assert!(error.to_string().starts_with(&format!("cannot read {}", key.display())), "{error}");
    let error = Identity::load_or_create(Path::new("/dev/null/audera")).unwrap_err();
    assert!(error.to_string().starts_with("cannot create directory /dev/null/audera"), "{error}");
}

#[test]
fn a_peer_is_pinned_once_and_known_ever_after() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("audera/trusted.toml");
    let mut store = TrustStore::open(&path).unwrap();
    assert!(!store.contains(&id(1)));
    assert_eq!(store.pin("Kitchen", &id(1)).unwrap(), Pinned::New);
    assert_eq!(store.pin("Kitchen", &id(1)).unwrap(), Pinned::Known);
    assert_eq!(store.pin("Bath", &id(1)).unwrap(), Pinned::New, "two rooms of one host share its id");
    let again = TrustStore::open(&path).unwrap();
    assert!(again.contains(&id(1)) && !again.contains(&id(2)));
    assert_eq!(again.peers().iter().map(|peer| peer.name.as_str()).collect::<Vec<_>>(), ["Kitchen", "Bath"]);
    assert_eq!(mode(&path), 0o644);
    assert_eq!(mode(path.parent().unwrap()), 0o700);
}

#[test]
fn a_changed_id_is_loud_and_names_the_entry() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("trusted.toml");
    let mut store = TrustStore::open(&path).unwrap();
    assert_eq!(store.pin("Bath", &id(1)).unwrap(), Pinned::New);
    assert_eq!(store.pin("Kitchen", &id(2)).unwrap(), Pinned::New);
    let before = fs::read_to_string(&path).unwrap();
    let Err(PinError::Changed(changed)) = store.pin("Kitchen", &id(3)) else { panic!("a changed id is refused") };
    assert_eq!((changed.known, changed.offered, &changed.file), (id(2), id(3), &path));
    let line = before.lines().nth(changed.line - 1).unwrap();
    let name = before.lines().nth(changed.line).unwrap();
    assert_eq!((line, name), ("[[peer]]", "name = \"Kitchen\""), "line {} of\n{before}", changed.line);
    let text = changed.to_string();
    for part in ["IS NOT WHO IT WAS", &path.display().to_string(), &id(2).to_string(), &id(3).to_string()] {
        assert!(text.contains(part), "{text}");
    }
    assert_eq!(fs::read_to_string(&path).unwrap(), before);
    assert!(!store.contains(&id(3)));
}

#[test]
fn what_a_user_wrote_stays() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("trusted.toml");
    // No newline at the end, a comment, a key of a later version, an entry without a date.
    let hand_written = format!("# my rooms\nlater = 1\n[[peer]]\nid = \"{}\" # the big one\nname = 'Hall'", id(9));
    fs::write(&path, &hand_written).unwrap();
    let mut store = TrustStore::open(&path).unwrap();
    assert!(store.contains(&id(9)));
    let odd = "K\u{fc}che \"1\"\n[[peer]]\\";
    assert_eq!(store.pin(odd, &id(1)).unwrap(), Pinned::New);
    assert!(fs::read_to_string(&path).unwrap().starts_with(&hand_written));
    let again = TrustStore::open(&path).unwrap();
    assert_eq!(again.peers().len(), 2);
    assert_eq!(again.peers()[1].name, odd);
}

#[test]
fn a_peer_is_forgotten_and_all_else_stays() {
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("met.toml");
    let mut store = TrustStore::open(&file).unwrap();
    for (name, last) in [("Kitchen", 1), ("Bath [1]", 2), ("Attic", 3)] {
        assert_eq!(store.pin(name, &id(last)).unwrap(), Pinned::New);
    }
    let written =
        fs::read_to_string(&file).unwrap() + "\n# the cellar's, by hand\n[[peer]]\nname = \"Cellar\"\nid = \"";
    fs::write(&file, format!("{written}{}\"\nnote = \"damp\"\n", id(4))).unwrap();
    assert!(store.forget("Bath [1]").unwrap());
    assert!(!store.forget("Bath [1]").unwrap(), "it is forgotten already");
    let names = |store: &TrustStore| store.peers().iter().map(|peer| peer.name.clone()).collect::<Vec<_>>();
    assert_eq!(names(&store), ["Kitchen", "Attic", "Cellar"]);
    let text = fs::read_to_string(&file).unwrap();
    assert!(
        text.starts_with("# Audera") && text.contains("# the cellar's, by hand\n") && text.contains("note = \"damp\"")
    );
    assert_eq!(names(&TrustStore::open(&file).unwrap()), names(&store));
    assert_eq!(store.pin("Bath [1]", &id(9)).unwrap(), Pinned::New, "another one may have the name");
    assert!(store.forget("Cellar").unwrap() && store.forget("Kitchen").unwrap());
    assert_eq!(names(&store), ["Attic", "Bath [1]"]);
}

#[test]
fn entries_of_other_processes_count() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("trusted.toml");
    let mut ours = TrustStore::open(&path).unwrap();
    let mut theirs = TrustStore::open(&path).unwrap();
    assert_eq!(theirs.pin("Kitchen", &id(1)).unwrap(), Pinned::New);
    assert!(matches!(ours.pin("Kitchen", &id(2)), Err(PinError::Changed(_))));
    assert_eq!(ours.pin("Kitchen", &id(1)).unwrap(), Pinned::Known);
    fs::remove_file(&path).unwrap();
    ours.reload().unwrap();
    assert!(!ours.contains(&id(1)), "the user has forgotten all peers");
}

#[test]
fn concurrent_writers_lose_nothing() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("trusted.toml");
    thread::scope(|scope| {
        for writer in 0..6_u8 {
            let path = &path;
            scope.spawn(move || {
                let mut store = TrustStore::open(path).unwrap();
                for round in 0..5 {
                    assert_eq!(store.pin(&format!("{writer}/{round}"), &id(writer)).unwrap(), Pinned::New);
                }
            });
        }
    });
    let store = TrustStore::open(&path).unwrap();
    assert_eq!(store.peers().len(), 30);
    assert!((0..6).all(|writer| store.contains(&id(writer))));
}

#[test]
fn a_file_that_is_not_right_is_refused_and_the_former_content_stays() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("trusted.toml");
    let mut store = TrustStore::open(&path).unwrap();
    assert_eq!(store.pin("Kitchen", &id(1)).unwrap(), Pinned::New);
    let good = id(1);
    let cases = [
        ("[[peer]\n".to_owned(), "line 1"),
        ("[[peer]]\nname = \"Kitchen\"\n".to_owned(), "id"),
        (format!("[[peer]]\nid = \"{good}\"\n"), "name"),
        ("[[peer]]\nname = \"Kitchen\"\nid = \"ABC\"\n".to_owned(), "line 3: `ABC` is not a peer's id"),
        (
            format!("[[peer]]\nname = \"A\"\nid = \"{good}\"\n[[peer]]\nname = \"A\"\nid = \"{}\"\n", id(2)),
            "line 4: a second id for the name \"A\"",
        ),
    ];
    for (text, reason) in cases {
        fs::write(&path, &text).unwrap();
        let error = store.reload().unwrap_err();
        assert!(error.to_string().contains(reason), "{error}");
        assert!(error.to_string().contains(&path.display().to_string()), "{error}");
        assert!(matches!(store.pin("Bath", &id(3)), Err(PinError::Store(TrustError::Corrupt { .. }))));
        assert!(store.contains(&good), "the former content stays in force");
        assert_eq!(fs::read_to_string(&path).unwrap(), text);
    }
    fs::write(&path, "").unwrap();
    set_mode(&path, 0o666);
    assert!(store.reload().unwrap_err().to_string().contains("chmod go-w"));
}

#[test]
fn names_are_bounded() {
    let home = tempfile::tempdir().unwrap();
    let mut store = TrustStore::open(home.path().join("trusted.toml")).unwrap();
    for name in ["", &"x".repeat(257)] {
        let error = store.pin(name, &id(1)).unwrap_err();
        assert!(error.to_string().contains("1 to 256 bytes"), "{error}");
    }
    assert_eq!(store.pin(&"x".repeat(256), &id(1)).unwrap(), Pinned::New);
}
