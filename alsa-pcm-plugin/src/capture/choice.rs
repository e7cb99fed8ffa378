//! Which source is meant by what a definition says, and what a user is told when there is none such.

use std::time::Duration;

use audera_alsa_plugin::{Errno, OpenError};
use audera_receiver::{Announced, Source, SourceError};
use tokio::sync::watch;
use tokio::time::{Instant, timeout, timeout_at};

/// Where none is named, who is about to be found is waited for: until nothing has changed for so long.
const QUIET: Duration = Duration::from_millis(250);

/// Finds out which source is meant, until `deadline` at most. Without `announced` nothing is looked for.
pub(super) async fn choose(
    wish: Option<&str>,
    announced: Option<watch::Receiver<Announced>>,
    deadline: Instant,
) -> Result<Source, OpenError> {
    let wish = match wish.map(str::parse::<Source>).transpose() {
        Ok(Some(address @ Source::Address { .. })) => return Ok(address),
        Ok(Some(Source::Named(name))) => Some(name),
        Ok(None) => None,
        Err(SourceError(why)) => {
            let reason = format!("\"{}\" is no source: {why}; give {}", wish.unwrap_or_default(), Source::ACCEPTED);
            return Err(OpenError::refused(Errno::INVAL, reason));
        }
    };
    let Some(mut announced) = announced else {
        let reason = "without discovery no source is found by name: give its address, host:port";
        return Err(OpenError::refused(Errno::NODEV, reason));
    };
    let found = async {
        match &wish {
            Some(name) => match announced.wait_for(|known| matching(known, name).is_some()).await {
                Ok(known) => matching(&known, name),
                Err(_) => None,
            },
            None => {
                // Fails only with the network thread.
                announced.wait_for(|known| present(known).next().is_some()).await.ok()?;
                while matches!(timeout(QUIET, announced.changed()).await, Ok(Ok(()))) {}
                only(&announced.borrow())
            }
        }
    };
    let found = timeout_at(deadline, found).await.ok().flatten();
    found.map(Source::Named).ok_or_else(|| refusal(&announced.borrow(), wish.as_deref()))
}

/// The names of those that are there.
fn present(known: &Announced) -> impl Iterator<Item = &String> {
    known.iter().filter(|(_, place)| !place.withdrawn).map(|(name, _)| name)
}

/// The source of this very name, or in other letters if that is unambiguous.
fn matching(known: &Announced, wish: &str) -> Option<String> {
    if known.get(wish).is_some_and(|place| !place.withdrawn) {
        return Some(wish.to_owned());
    }
    let folded = wish.to_lowercase();
    let mut alike = present(known).filter(|name| name.to_lowercase() == folded);
    alike.next().filter(|_| alike.next().is_none()).cloned()
}

fn only(known: &Announced) -> Option<String> {
    let mut present = present(known);
    present.next().filter(|_| present.next().is_none()).cloned()
}

fn refusal(known: &Announced, wish: Option<&str>) -> OpenError {
    let names: Vec<String> = present(known).map(|name| format!("\"{name}\"")).collect();
    let reason = match (wish, names.len()) {
        (wish, 0) => format!(
            "no source was found{}: start libpipewire-module-audera-source on the machine with the input, and Avahi on both; or give \
             its address, host:port",
            wish.map(|wish| format!(", so there is no \"{wish}\" either")).unwrap_or_default()
        ),
        (Some(wish), _) => format!("there is no source \"{wish}\": there are {}", names.join(", ")),
        (None, _) => format!("there are several sources, say which is to be recorded: {}", names.join(", ")),
    };
    OpenError::refused(Errno::NODEV, reason)
}

#[cfg(test)]
mod tests {
    use super::*;
    use audera_link::Target;
    use audera_receiver::Place;

    fn known(names: &[(&str, bool)]) -> Announced {
        let place = |withdrawn| Place { target: Target::Addresses(Vec::new()), withdrawn };
        names.iter().map(|(name, withdrawn)| ((*name).to_owned(), place(*withdrawn))).collect()
    }

    async fn chosen(wish: Option<&str>, names: &[(&str, bool)]) -> Result<String, String> {
        let (_keep, announced) = watch::channel(known(names));
        let chosen = choose(wish, Some(announced), Instant::now() + Duration::from_millis(2_500)).await;
        chosen.map(|source| source.to_string()).map_err(|refusal| refusal.to_string())
    }

    #[tokio::test(start_paused = true)]
    async fn by_name_in_any_letters_by_address_and_the_only_one() {
        let two = [("Turntable", false), ("Radio", false)];
        assert_eq!(chosen(Some("Radio"), &two).await, Ok("Radio".into()));
        assert_eq!(chosen(Some("turntable"), &two).await, Ok("Turntable".into()));
        assert_eq!(chosen(Some("tv:6529"), &[]).await, Ok("tv:6529".into()));
        assert_eq!(chosen(None, &[("Turntable", false), ("Radio", true)]).await, Ok("Turntable".into()));
    }

    #[tokio::test(start_paused = true)]
    async fn a_refusal_lists_what_there_is() {
        let two = [("Turntable", false), ("Radio", false), ("Gone", true)];
        let refusal = chosen(Some("Attic"), &two).await.unwrap_err();
        assert_eq!(refusal, "there is no source \"Attic\": there are \"Radio\", \"Turntable\"");
        assert!(chosen(Some("Gone"), &two).await.unwrap_err().contains("there are \"Radio\""));
        assert!(chosen(None, &two).await.unwrap_err().contains("say which"));
        assert!(chosen(Some("Attic"), &[]).await.unwrap_err().contains("no \"Attic\" either"));
        assert!(chosen(Some("tv:0"), &two).await.unwrap_err().contains("65535"));
        let without = choose(Some("Radio"), None, Instant::now()).await.unwrap_err().to_string();
        assert!(without.contains("host:port"), "{without}");
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_is_announced_in_time_is_found() {
        let (sender, announced) = watch::channel(Announced::new());
        let begun = Instant::now();
        let late = async {
            tokio::time::sleep(Duration::from_secs(1)).await;
            sender.send_replace(known(&[("Radio", false)]));
            std::future::pending::<()>().await;
        };
        tokio::select! {
            chosen = choose(Some("Radio"), Some(announced), begun + Duration::from_secs(2)) => {
                assert_eq!(chosen.unwrap().to_string(), "Radio");
            }
            () = late => {}
        }
        assert!(begun.elapsed() < Duration::from_millis(1_100));
    }
}
