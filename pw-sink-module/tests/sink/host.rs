//! A process that loads and unloads the module by command, as no program of PipeWire does: this test program, started again.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, ExitStatus, Stdio};

use audera_testkit::Session;

use crate::desk::wrapped;

/// The host as the tests see it. It ends with the test.
pub struct Host {
    child: Child,
    commands: Option<ChildStdin>,
    /// Open as long as the host may write.
    _words: BufReader<ChildStdout>,
}

const READY: &str = "ready for modules";

impl Host {
    pub fn start(session: &Session, wrap: &[String]) -> Self {
        let program = std::env::current_exe().unwrap().display().to_string();
        let words = [&program, "--ignored", "--exact", "host::serve", "--nocapture"];
        let mut command = wrapped(session, wrap, &words);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let commands = child.stdin.take();
        let mut words = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        while !line.contains(READY) {
            line.clear();
            assert!(words.read_line(&mut line).unwrap() > 0, "the host ended");
        }
        Host { child, commands, _words: words }
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// `load`, `unload`, or `leak`, which loses memory.
    pub fn say(&mut self, command: &str) {
        writeln!(self.commands.as_mut().unwrap(), "{command}").unwrap();
    }

    /// Ends it, with the module if that is loaded.
    pub fn end(mut self) -> ExitStatus {
        self.commands = None;
        self.child.wait().unwrap()
    }
}

/// The other side: runs until its input ends.
#[test]
#[ignore = "the body of a process that other tests start"]
fn serve() {
    use std::ptr::{null, null_mut};
    use std::sync::mpsc::{TryRecvError, channel};

    use pipewire_sys as pw;

    let (say, commands) = channel();
    std::thread::spawn(move || std::io::stdin().lines().map_while(Result::ok).try_for_each(|line| say.send(line)));
    // SAFETY: the order in which the manual of libpipewire wants these; all on this thread; every object is destroyed once,
    // after what was made from it.
    unsafe {
        pw::pw_init(null_mut(), null_mut());
        let main_loop = pw::pw_main_loop_new(null());
        let raw_loop = pw::pw_main_loop_get_loop(main_loop);
        let context = pw::pw_context_new(raw_loop, null_mut(), 0);
        println!("{READY}");
        let mut module = null_mut();
        loop {
            match commands.try_recv().as_deref() {
                Ok("load") => {
                    let name = c"libpipewire-module-audera-sink";
                    module = pw::pw_context_load_module(context, name.as_ptr(), null(), null_mut());
                    assert!(!module.is_null());
                }
                Ok("unload") => pw::pw_impl_module_destroy(std::mem::replace(&mut module, null_mut())),
                Ok("leak") => std::mem::forget(std::hint::black_box(Box::new([0_u8; 1000]))),
                Ok(other) => panic!("what is {other}?"),
                Err(TryRecvError::Disconnected) => break,
                Err(TryRecvError::Empty) => iterate(raw_loop),
            }
        }
        pw::pw_context_destroy(context);
        pw::pw_main_loop_destroy(main_loop);
        pw::pw_deinit();
    }
}

/// Lets the loop do what is due, for 20 ms at most.
///
/// # Safety
/// The loop is live and this is its thread.
unsafe fn iterate(raw_loop: *mut pipewire_sys::pw_loop) {
    // SAFETY: a live loop has its control methods, all of them of this version or a later one.
    unsafe {
        let control = &(*(*raw_loop).control).iface;
        let methods = &*control.cb.funcs.cast::<libspa_sys::spa_loop_control_methods>();
        let (enter, iterate, leave) = (methods.enter, methods.iterate, methods.leave);
        if let (Some(enter), Some(iterate), Some(leave)) = (enter, iterate, leave) {
            enter(control.cb.data);
            iterate(control.cb.data, 20);
            leave(control.cb.data);
        }
    }
}
