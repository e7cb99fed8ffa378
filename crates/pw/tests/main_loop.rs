//! The services of a loop, without a server: order, wakes from other threads, timers, and sources that drop themselves.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::mpsc;
use std::time::Duration;

use audera_pw::{Error, MainLoop, Properties, Thread};

const PATIENCE: Duration = Duration::from_secs(20);

/// A thread whose state is its loop and whatever the test keeps on it.
fn thread<S: 'static>(setup: impl FnOnce(&MainLoop) -> Result<S, Error> + Send + 'static) -> Thread<S> {
    Thread::spawn("pw-loop-test", Properties::new(), move |context| setup(context.main_loop())).expect("starts")
}

#[test]
fn tasks_run_in_order_and_results_come_back() {
    let thread = thread(|_| Ok(Vec::new()));
    for number in 0..100 {
        thread.post(move |numbers: &mut Vec<i32>| numbers.push(number)).expect("posted");
    }
    assert_eq!(thread.run(|numbers| numbers.clone()).expect("runs"), (0..100).collect::<Vec<_>>());
}

#[test]
fn what_setup_gives_as_error_comes_out_of_spawn() {
    let failed = Thread::<()>::spawn("pw-loop-test", Properties::new(), |_| Err(Error::module("no")));
    assert_eq!(failed.expect_err("an error").to_string(), "no");
    let panicked = Thread::<()>::spawn("pw-loop-test", Properties::new(), |_| panic!("in setup"));
    assert!(matches!(panicked, Err(Error::Thread { .. })));
}

#[test]
fn a_task_that_panics_leaves_the_loop_running() {
    let thread = thread(|_| Ok(()));
    assert!(thread.run(|()| panic!("in a task")).is_err());
    assert_eq!(thread.run(|()| 7).expect("runs"), 7);
}

#[test]
fn many_wakes_are_at_least_one_call_and_none_after_the_end() {
    let (called, calls) = mpsc::channel();
    let thread = thread(move |main_loop| {
        let (source, waker) = main_loop.on_wake(move || called.send(()).expect("the test waits"))?;
        Ok((Some(source), waker))
    });
    let waker = thread.run(|(_, waker)| waker.clone()).expect("runs");
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| (0..100).for_each(|_| waker.wake()));
        }
    });
    calls.recv_timeout(PATIENCE).expect("a call");
    thread.run(|(source, _)| drop(source.take())).expect("runs");
    // The callback has been dropped with its source, and the sender in it.
    waker.wake();
    while calls.try_recv().is_ok() {}
    assert_eq!(calls.try_recv(), Err(mpsc::TryRecvError::Disconnected));
}

#[test]
fn a_message_reaches_the_loop_or_comes_back() {
    let (heard, words) = mpsc::channel();
    let thread = thread(move |main_loop| {
        let (receiver, sender) =
            main_loop.channel(move |word: &'static str| heard.send(word).expect("the test waits"))?;
        Ok((Some(receiver), sender))
    });
    let sender = thread.run(|(_, sender)| sender.clone()).expect("runs");
    sender.send("first").expect("sent");
    sender.send("second").expect("sent");
    assert_eq!([words.recv_timeout(PATIENCE), words.recv_timeout(PATIENCE)], [Ok("first"), Ok("second")]);
    thread.run(|(receiver, _)| drop(receiver.take())).expect("runs");
    assert_eq!(sender.send("third"), Err("third"));
}

#[test]
fn timers_fire_repeat_and_may_drop_themselves() {
    let (fired, times) = mpsc::channel();
    let _thread = thread(move |main_loop| {
        let repeating: Rc<RefCell<Option<audera_pw::Timer>>> = Rc::default();
        let timer = main_loop.timer({
            let repeating = Rc::clone(&repeating);
            let mut left = 3;
            move || {
                left -= 1;
                fired.send(left).expect("the test waits");
                if left == 0 {
                    repeating.borrow_mut().take();
                }
            }
        })?;
        timer.arm_every(Duration::from_millis(1))?;
        *repeating.borrow_mut() = Some(timer);
        let idle = main_loop.timer(|| panic!("was disarmed"))?;
        idle.arm(Duration::ZERO)?;
        idle.disarm()?;
        Ok(idle)
    });
    assert_eq!([(); 3].map(|()| times.recv_timeout(PATIENCE)), [Ok(2), Ok(1), Ok(0)]);
    assert_eq!(times.recv_timeout(PATIENCE), Err(mpsc::RecvTimeoutError::Disconnected), "it has dropped itself");
}
