//! Pages of other web sites, and paths that begin elsewhere.

use hyper::Method;

use crate::api::{Api, builder};
use crate::server::{Broker, in_time};

const PAGE: [(&str, &str); 1] = [("origin", "https://dashboard.example")];
const OTHER: [(&str, &str); 1] = [("origin", "https://dashboard.example.evil.example")];
const ALLOW: &str = "access-control-allow-origin";
const CREDENTIALS: &str = "access-control-allow-credentials";

fn with_sites(sites: &'static [&str], test: impl AsyncFnOnce(Api)) {
    in_time(async {
        let sites = sites.iter().map(|site| (*site).to_owned()).collect();
        let broker = Broker::start(builder().configure(|config| config.cors_origins = sites));
        test(Api::new(&broker)).await;
        broker.stop().await;
    });
}

#[test]
fn a_site_that_is_named_may_do_what_its_user_may_and_no_other() {
    with_sites(&["https://dashboard.example"], async |api| {
        let answer = api.send(Method::PUT, "/api/vhosts/v", &PAGE, "").await.is(201);
        assert_eq!(answer.header(ALLOW), Some("https://dashboard.example"));
        assert_eq!(answer.header(CREDENTIALS), Some("true"));
        let before = api.nobody().send(Method::OPTIONS, "/api/vhosts/v", &PAGE, "").await.is(200);
        assert_eq!(before.header(ALLOW), Some("https://dashboard.example"));
        let methods = before.header("access-control-allow-methods").expect("they are named");
        assert!(methods.contains("PUT") && methods.contains("DELETE"), "{methods}");
        assert_eq!(before.header("access-control-allow-headers"), Some("authorization, content-type"));
        let other = api.send(Method::DELETE, "/api/vhosts/v", &OTHER, "").await.is(403);
        assert_eq!(other.header(ALLOW), None);
        assert_eq!(api.send(Method::GET, "/api/vhosts/v", &OTHER, "").await.is(200).header(ALLOW), None);
        // The login is asked for all the same.
        api.nobody().send(Method::DELETE, "/api/vhosts/v", &PAGE, "").await.is(401);
        api.get("/api/vhosts/v").await.is(200);
    });
}

#[test]
fn where_every_site_is_allowed_none_is_given_what_a_browser_remembers() {
    with_sites(&["*"], async |api| {
        let answer = api.send(Method::GET, "/api/overview", &OTHER, "").await.is(200);
        assert_eq!((answer.header(ALLOW), answer.header(CREDENTIALS)), (Some("*"), None));
        api.send(Method::PUT, "/api/vhosts/v", &OTHER, "").await.is(201);
    });
}

#[test]
fn paths_may_begin_with_a_prefix_and_then_all_do() {
    in_time(async {
        let broker = Broker::start(builder().configure(|config| "/mq/a".clone_into(&mut config.management_prefix)));
        let api = Api::new(&broker);
        assert_eq!(api.get("/mq/a/api/whoami").await.ok()["name"], "guest");
        api.put("/mq/a/api/vhosts/a%2Fb", "").await.is(201);
        assert_eq!(api.get("/mq/a/api/vhosts/a%2Fb").await.ok()["name"], "a/b");
        api.nobody().get("/mq/a/api/whoami").await.is(401);
        for path in ["/api/whoami", "/mq/api/whoami", "/mq/a", "/mq/a/", "/mq/a/mq/a/api/whoami"] {
            let answer = api.get(path).await.is(404);
            assert_eq!(answer.header("x-content-type-options"), Some("nosniff"), "{path}");
        }
        broker.stop().await;
    });
}
