//! Who may call what: every route of the table with every kind of user.
//!
//! `routes.txt` says who may call each route. A route that is not there fails, so nobody adds one without a decision.

use hyper::Method;
use leveret::management::{Access, rows};

use crate::api::{Api, refused, scenario};

/// One line for each route, sorted: path, method, who may call it.
const ROUTES: &str = include_str!("routes.txt");

/// Kinds of users, by their only tag.
const TAGS: [&str; 5] = ["", "management", "policymaker", "monitoring", "administrator"];

/// Whether a user with this tag, who may enter every virtual host, may call a route; or why not.
fn expected(access: Access, tag: &str) -> Result<(), &'static str> {
    let any = !tag.is_empty();
    match access {
        Access::Open => Ok(()),
        _ if !any => Err("Not management user"),
        Access::Manager | Access::Vhost | Access::VisibleVhost => Ok(()),
        Access::Policymaker | Access::AnyPolicymaker if matches!(tag, "policymaker" | "administrator") => Ok(()),
        Access::Policymaker | Access::AnyPolicymaker => Err("User not authorised to access object"),
        Access::Monitoring if matches!(tag, "monitoring" | "administrator") => Ok(()),
        Access::Monitoring => Err("Not monitor user"),
        Access::Administrator if tag == "administrator" => Ok(()),
        Access::Administrator | Access::Control => Err("Not administrator user"),
    }
}

/// A path with names of things that do not exist, but for the virtual host.
fn filled(path: &str, vhost: &str) -> String {
    let parts = path.split('/').map(|part| match part {
        "{vhost}" => vhost,
        "{protocols}" => "amqp",
        "{port}" => "5672",
        "{unit}" => "days",
        "{within}" => "1",
        "{dtype}" => "q",
        name if name.starts_with('{') => "nothing-of-this-name",
        literal => literal,
    });
    parts.collect::<Vec<_>>().join("/")
}

async fn user_with(api: &Api, tag: &str) -> Api {
    let name = format!("user-{tag}");
    api.put(&format!("/api/users/{name}"), &format!(r#"{{"password":"secret","tags":"{tag}"}}"#)).await.is(201);
    let all = r#"{"configure":".*","write":".*","read":".*"}"#;
    api.put(&format!("/api/permissions/%2F/{name}"), all).await.is(201);
    api.user(&name, "secret")
}

#[test]
fn every_route_has_a_row_that_says_who_may_call_it() {
    let mut lines: Vec<String> =
        rows().iter().map(|row| format!("{} {} {:?}", row.path, row.method, row.access)).collect();
    lines.sort();
    let there = lines.join("\n");
    assert_eq!(ROUTES.trim_end(), there, "tests/management/routes.txt should be:\n{there}\n");
}

#[test]
fn every_route_asks_for_the_tag_its_row_names() {
    scenario(async |_, api| {
        let mut users = Vec::new();
        for tag in TAGS {
            users.push((tag, user_with(api, tag).await));
        }
        for row in rows() {
            for (tag, user) in &users {
                let what = format!("{} {} as {tag:?}", row.method, row.path);
                let expected = expected(row.access, tag);
                // Who is let in must not find anything to change.
                let vhost = if expected.is_ok() { "nowhere" } else { "%2F" };
                let answer = user.send(row.method.clone(), &filled(row.path, vhost), &[], "").await;
                match expected {
                    _ if row.access == Access::Control => assert_eq!(answer.status, 404, "{what}: {answer:?}"),
                    Err(reason) => assert_eq!(answer.refusal(), refused(401, "not_authorised", reason), "{what}"),
                    Ok(()) if row.path == "/api/login" => assert_eq!(answer.status, 401, "{what}"),
                    Ok(()) if row.path.starts_with("/api/user-limits/{user}") && *tag != "administrator" => {
                        // One's own only, unless one is a monitor.
                        assert!(matches!(answer.status, 401 | 404), "{what}: {answer:?}");
                    }
                    Ok(()) if row.path == "/api/connections/username/{user}" => {
                        // One's own only, unless one is a monitor.
                        assert!(matches!(answer.status, 200 | 204 | 401), "{what}: {answer:?}");
                    }
                    Ok(()) => {
                        assert!(!matches!(answer.status, 401 | 403 | 405 | 500), "{what}: {answer:?}");
                    }
                }
            }
            let answer = api.nobody().send(row.method.clone(), &filled(row.path, "%2F"), &[], "").await;
            match row.access {
                Access::Open => assert_ne!(answer.status, 403, "{row:?}"),
                Access::Control => assert_eq!(answer.status, 404, "{row:?}"),
                _ => {
                    assert_eq!((answer.status, answer.body.len()), (401, 0), "{row:?}");
                    assert_eq!(answer.header("www-authenticate"), Some("Basic realm=\"RabbitMQ Management\""));
                }
            }
        }
    });
}

#[test]
fn what_is_in_a_virtual_host_is_hidden_from_who_may_not_enter_it() {
    scenario(async |_, api| {
        api.put("/api/vhosts/closed", "").await.is(201);
        for (tag, status) in [("management", 404), ("monitoring", 404), ("administrator", 200)] {
            let user = user_with(api, tag).await;
            let answer = user.get("/api/policies/closed").await;
            assert_eq!(answer.status, status, "{tag}: {answer:?}");
            let answer = user.get("/api/aliveness-test/closed").await;
            assert_eq!(answer.status, status, "{tag}: {answer:?}");
        }
        let manager = api.user("user-management", "secret");
        assert_eq!(manager.get("/api/policies/closed").await.refusal(), refused(404, "not_found", "Not Found"));
        let seen = manager.get("/api/vhosts").await.ok();
        assert_eq!(seen.as_array().unwrap().len(), 1, "{seen}");
        let seen = api.user("user-monitoring", "secret").get("/api/vhosts").await.ok();
        assert_eq!(seen.as_array().unwrap().len(), 2, "a monitor sees that it is there: {seen}");
    });
}

#[test]
fn methods_that_are_not_there_are_told_apart_from_paths_that_are_not() {
    scenario(async |_, api| {
        let answer = api.post("/api/overview", "").await.is(405);
        assert_eq!((answer.header("allow"), answer.body.len()), (Some("HEAD, GET, OPTIONS"), 0));
        let nowhere = refused(404, "Object Not Found", "Not Found");
        assert_eq!(api.get("/api/nothing").await.refusal(), nowhere);
        assert_eq!(api.get("/").await.refusal(), nowhere);
        let answer = api.nobody().send(Method::OPTIONS, "/api/vhosts/%2F", &[], "").await.is(200);
        assert_eq!(answer.header("allow"), Some("HEAD, GET, PUT, DELETE, OPTIONS"));
        assert_eq!(answer.header("access-control-allow-origin"), None, "no other site may read answers");
        let head = api.send(Method::HEAD, "/api/overview", &[], "").await.is(200);
        assert!(head.body.is_empty());
        api.get("/api/overview/").await.is(200);
        api.get("/api/vhosts/%2F/").await.is(200);
    });
}

#[test]
fn a_page_of_another_site_changes_nothing() {
    scenario(async |_, api| {
        let form = [("content-type", "text/plain"), ("origin", "http://evil.example")];
        let answer = api.send(Method::POST, "/api/users/bulk-delete", &form, r#"{"users":["guest"]}"#).await;
        assert_eq!(answer.status, 403, "{answer:?}");
        let cross = [("sec-fetch-site", "cross-site")];
        api.send(Method::PUT, "/api/vhosts/forged", &cross, "").await.is(403);
        let own = [("origin", "http://localhost:15672")];
        api.send(Method::PUT, "/api/vhosts/own", &own, "").await.is(201);
        api.get("/api/users/guest").await.is(200);
        api.get("/api/vhosts/forged").await.is(404);
        for name in ["x-content-type-options", "x-frame-options", "content-security-policy", "cache-control", "vary"] {
            assert!(api.get("/api/overview").await.header(name).is_some(), "{name}");
        }
    });
}

#[test]
fn wrong_logins_are_told_nothing_and_slowed_down() {
    use leveret::broker::Protocol;
    scenario(async |broker, api| {
        let wrong = refused(401, "not_authorized", "Not_Authorized");
        assert_eq!(api.user("guest", "wrong").get("/api/overview").await.refusal(), wrong);
        assert_eq!(api.user("nobody", "guest").get("/api/overview").await.refusal(), wrong);
        assert_eq!(api.user("guest", "").get("/api/overview").await.refusal(), wrong);
        let attempts = &broker.inside().attempts;
        assert_eq!(attempts.of(Protocol::Http), (0, 3));
        let here = "127.0.0.1".parse().unwrap();
        let now = broker.clock().now();
        for _ in 0..200 {
            broker.inside().logins.refused(here, now);
        }
        // The first of those who are slowed is looked at now, the next one later.
        broker.inside().logins.admit(here, now);
        let before = broker.clock().nanos();
        api.get("/api/whoami").await.is(200);
        assert!(broker.clock().nanos() - before > 50_000_000, "a login from there waits its turn");
    });
}
