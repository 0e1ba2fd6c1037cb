//! Logins that take long to judge: hashes made to be slow.

use leveret::auth::{Denied, Login, PasswordHash, Permission, User};
use leveret::broker::{Judgement, Protocol};
use leveret::server::Server;

use crate::client::Client;
use crate::frames;
use crate::permissions::user;
use crate::script::{Script, start, stop};

/// The least that bcrypt makes; what matters here is where it is looked at.
const COST: u32 = 4;

/// A broker with a user `slow`, whose password is `secret`.
async fn with_slow() -> Server {
    let server = start(|_| {});
    let text = bcrypt::hash("secret", COST).expect("a cost that bcrypt takes");
    let password_hash = PasswordHash::from_export(&text, "bcrypt").expect("a hash");
    assert_eq!(server.broker().put_user(User { password_hash, ..user("slow") }).await, Ok(true));
    assert_eq!(server.broker().set_permission("/", "slow", Permission::all()).await, Ok(true));
    server
}

fn attempts(server: &Server) -> (u64, u64) {
    server.broker().attempts.of(Protocol::Amqp)
}

#[tokio::test]
async fn a_slow_hash_is_compared_elsewhere_with_all_input_behind_it_waiting() {
    let server = with_slow().await;
    let mut client = Client::connect(server.addresses()[0]).await;
    let login = frames::start_ok("PLAIN", b"\0slow\0secret", &[]);
    Script::raw()
        .send(
            [frames::HEADER, &login, &frames::tune_ok(10, 131_072, 0), &frames::open("/"), &frames::channel_open(1)]
                .concat(),
        )
        .expect_method(0, (10, 10))
        .expect([frames::tune(), frames::open_ok(), frames::channel_open_ok(1)].concat())
        .perform(&mut client)
        .await;
    let mut wrong = Client::connect(server.addresses()[0]).await;
    let text =
        "ACCESS_REFUSED - Login was refused using authentication mechanism PLAIN. For details see the broker logfile.";
    Script::raw()
        .send(frames::HEADER)
        .expect_method(0, (10, 10))
        .ask(
            frames::start_ok("PLAIN", b"\0slow\0Secret", &["authentication_failure_close"]),
            frames::connection_closed(403, text, (0, 0)),
        )
        .perform(&mut wrong)
        .await;
    assert_eq!(attempts(&server), (1, 1));
    stop(server).await;
}

#[tokio::test]
async fn only_slow_logins_wait_and_who_has_gone_is_not_looked_at() {
    let server = with_slow().await;
    let peer = server.addresses()[0].ip();
    let ask = |name: &[u8]| server.broker().log_in(Some(Protocol::Amqp), Login::password(name, b"secret"), peer, None);
    assert!(matches!(ask(b"guest"), Judgement::Now(Err(Denied::Credentials))));
    assert!(matches!(ask(b"nobody"), Judgement::Now(Err(Denied::Credentials))));
    assert_eq!(attempts(&server), (0, 2));
    let gone: Vec<_> = (0..100).map(|_| ask(b"slow")).collect();
    assert!(gone.iter().all(|judgement| matches!(judgement, Judgement::Coming(_))));
    drop(gone);
    let Judgement::Coming(verdict) = ask(b"slow") else { panic!("judged at once") };
    assert_eq!(verdict.await.unwrap().unwrap().name.as_ref(), "slow");
    assert_eq!(attempts(&server), (1, 2), "nobody is looked at for those who have gone");
    stop(server).await;
}

#[tokio::test]
async fn a_login_that_does_not_count_is_neither_counted_nor_held_against_anybody() {
    let server = with_slow().await;
    let peer = server.addresses()[0].ip();
    for _ in 0..1_000 {
        let verdict = server.broker().log_in_and_wait(None, Login::password(b"guest", b"wrong"), peer).await;
        assert_eq!(verdict, Err(Denied::Credentials));
    }
    assert_eq!(attempts(&server), (0, 0));
    assert_eq!(server.broker().logins.admit(peer, server.broker().clock.now()), leveret::auth::Admission::Now);
    stop(server).await;
}
