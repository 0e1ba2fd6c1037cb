//! Users, virtual hosts, and what is granted.

use serde_json::json;

use crate::api::{refused, scenario};
use crate::client::Client;

/// Everything, as a permission.
const ALL: &str = r#"{"configure":".*","write":".*","read":".*"}"#;

#[test]
fn a_user_comes_changes_and_goes() {
    scenario(async |_, api| {
        api.put("/api/users/app", r#"{"password":"s3cret","tags":"monitoring, management"}"#).await.is(201);
        let user = api.get("/api/users/app").await.ok();
        assert_eq!(user["tags"], json!(["monitoring", "management"]));
        assert_eq!(user["hashing_algorithm"], "rabbit_password_hashing_sha256");
        assert_eq!(user["limits"], json!({}));
        let app = api.user("app", "s3cret");
        let who = app.get("/api/whoami").await.ok();
        assert_eq!(who, json!({"name": "app", "tags": ["monitoring", "management"], "is_internal_user": true}));
        api.put("/api/users/app", r#"{"password":"other","tags":["management"]}"#).await.is(204);
        app.get("/api/whoami").await.is(401);
        let app = api.user("app", "other");
        app.get("/api/whoami").await.is(200);
        api.put("/api/users/app", r#"{"tags":["management"]}"#).await.is(204);
        app.get("/api/whoami").await.is(401);
        assert_eq!(api.get("/api/users/app").await.ok()["password_hash"], "");
        api.delete("/api/users/app").await.is(204);
        api.delete("/api/users/app").await.is(404);
        assert_eq!(api.get("/api/users/app").await.refusal(), refused(404, "Object Not Found", "Not Found"));
    });
}

#[test]
fn a_hash_moves_instead_of_a_password() {
    scenario(async |_, api| {
        let hash = api.get("/api/auth/hash_password/s%203cret").await.ok()["ok"].as_str().unwrap().to_owned();
        let body =
            json!({"password_hash": hash, "hashing_algorithm": "rabbit_password_hashing_sha256", "tags": "management"});
        api.put("/api/users/moved", &body.to_string()).await.is(201);
        api.user("moved", "s 3cret").get("/api/whoami").await.is(200);
        assert_eq!(api.get("/api/users/moved").await.ok()["password_hash"], hash);
        // Salt 01020304 and SHA-512 of salt and "s 3cret", as tools send it that leave out the algorithm.
        let long =
            concat!("AQIDBE+6Jo5b5R04bg2jcrln36cP/gpPxp5QWm29Bn0ZjizshWMLJ9zM2faY", "hLbDbkzBG4zoyuUa66rCG6pLq0EvwMM=");
        api.put("/api/users/long", &json!({"password_hash": long, "tags": "management"}).to_string()).await.is(201);
        api.user("long", "s 3cret").get("/api/whoami").await.is(200);
        assert_eq!(api.get("/api/users/long").await.ok()["hashing_algorithm"], "rabbit_password_hashing_sha512");
        let refused = api.put("/api/users/bad", r#"{"password_hash":"not base64!","tags":""}"#).await.is(400).reason();
        assert!(!refused.contains("not base64!"), "{refused}");
        api.put("/api/users/bad", r#"{"password_hash":"","tags":"","hashing_algorithm":"rot13"}"#).await.is(400);
        api.get("/api/users/bad").await.is(404);
    });
}

#[test]
fn users_that_cannot_be_are_refused_in_rabbitmqs_words() {
    scenario(async |_, api| {
        let many = format!("[{}]", vec!["\"t\""; 33].join(","));
        for (body, reason) in [
            (r#"{"password":"x"}"#.to_owned(), "tags_not_present"),
            (
                r#"{"tags":"","password":"x","password_hash":"y"}"#.to_owned(),
                "both_password_and_password_hash_are_provided",
            ),
            (format!(r#"{{"tags":{many}}}"#), "A user can have at most 32 tags (received 33)"),
            ("[]".to_owned(), "not_json"),
            ("{".to_owned(), "not_json"),
        ] {
            assert_eq!(api.put("/api/users/u", &body).await.refusal(), refused(400, "bad_request", reason), "{body}");
        }
        api.put("/api/users/u", r#"{"tags":5}"#).await.is(400);
        api.put("/api/users/u", r#"{"tags":"","password":5}"#).await.is(400);
        api.put("/api/users/u", r#"{"tags":"","limits":{"max-connections":"many"}}"#).await.is(400);
        api.put(&format!("/api/users/{}", "u".repeat(256)), r#"{"tags":""}"#).await.is(400);
        assert_eq!(api.get("/api/users?columns=name").await.ok(), json!([{"name": "guest"}]), "nothing half applied");
    });
}

#[test]
fn protected_users_are_left_alone_over_http() {
    scenario(async |_, api| {
        api.put("/api/users/safe", r#"{"password":"x","tags":"protected"}"#).await.is(201);
        let reason = "Protected users cannot be modified via the HTTP API";
        assert_eq!(api.put("/api/users/safe", r#"{"tags":""}"#).await.is(400).reason(), reason);
        assert_eq!(api.delete("/api/users/safe").await.is(400).reason(), reason);
        api.put("/api/users/other", r#"{"tags":""}"#).await.is(201);
        api.post("/api/users/bulk-delete", r#"{"users":["safe","other","nobody"]}"#).await.is(204);
        assert_eq!(api.get("/api/users?columns=name").await.ok(), json!([{"name": "guest"}, {"name": "safe"}]));
        let missing = api.post("/api/users/bulk-delete", "{}").await.is(400).reason();
        assert_eq!(missing, "[{key_missing,users}]");
    });
}

#[test]
fn permissions_are_granted_to_who_exists() {
    scenario(async |_, api| {
        api.put("/api/users/app", r#"{"password":"x","tags":""}"#).await.is(201);
        assert_eq!(api.get("/api/users/without-permissions?columns=name").await.ok(), json!([{"name": "app"}]));
        let path = "/api/permissions/%2F/app";
        api.get(path).await.is(404);
        let reason = api.put(path, r#"{"configure":""}"#).await.is(400).reason();
        assert_eq!(reason, "[{key_missing,write},{key_missing,read}]");
        api.put(path, r#"{"configure":"^app-","write":".*","read":"^(app|amq)"}"#).await.is(201);
        api.put(path, r#"{"configure":"^app-","write":".*","read":"^app"}"#).await.is(204);
        let one = json!({"user": "app", "vhost": "/", "configure": "^app-", "write": ".*", "read": "^app"});
        assert_eq!(api.get(path).await.ok(), one);
        assert_eq!(api.get("/api/users/app/permissions").await.ok(), json!([one]));
        assert_eq!(api.get("/api/vhosts/%2F/permissions").await.ok().as_array().unwrap().len(), 2);
        api.put(path, r#"{"configure":"[","write":"","read":""}"#).await.is(400);
        assert_eq!(api.get(path).await.ok(), one, "a bad pattern changes nothing");
        for path in ["/api/permissions/%2F/nobody", "/api/permissions/nowhere/app"] {
            let expected = refused(400, "bad_request", "vhost_or_user_not_found");
            assert_eq!(api.put(path, ALL).await.refusal(), expected, "{path}");
        }
        api.delete(path).await.is(204);
        api.delete(path).await.is(404);
    });
}

#[test]
fn topic_permissions_come_as_a_list() {
    scenario(async |_, api| {
        let path = "/api/topic-permissions/%2F/guest";
        api.get(path).await.is(404);
        api.put(path, r#"{"exchange":"amq.topic","write":"^a","read":"b$"}"#).await.is(201);
        api.put(path, r#"{"exchange":"events","write":".*","read":".*"}"#).await.is(204);
        let first = json!({"user": "guest", "vhost": "/", "exchange": "amq.topic", "write": "^a", "read": "b$"});
        let both = api.get(path).await.ok();
        assert_eq!((both.as_array().unwrap().len(), &both[0]), (2, &first));
        assert_eq!(api.get("/api/topic-permissions").await.ok(), both);
        assert_eq!(api.get("/api/users/guest/topic-permissions").await.ok(), both);
        assert_eq!(api.get("/api/vhosts/%2F/topic-permissions").await.ok(), both);
        api.delete(&format!("{path}/events")).await.is(204);
        assert_eq!(api.get(path).await.ok(), json!([first]));
        api.delete(path).await.is(204);
        api.delete(path).await.is(404);
    });
}

#[test]
fn limits_of_a_user_are_set_one_by_one() {
    scenario(async |_, api| {
        let path = "/api/user-limits/guest/max-connections";
        api.put(path, r#"{"value":5}"#).await.is(204);
        api.put("/api/user-limits/guest/max-channels", r#"{"value":-1}"#).await.is(204);
        let expected = json!([{"user": "guest", "value": {"max-channels": -1, "max-connections": 5}}]);
        assert_eq!(api.get("/api/user-limits").await.ok(), expected);
        assert_eq!(api.get("/api/user-limits/guest").await.ok(), expected);
        api.put(path, r#"{"value":"five"}"#).await.is(400);
        api.put(path, "{}").await.is(400);
        api.put("/api/user-limits/guest/max-queues", r#"{"value":1}"#).await.is(400);
        let nobody = api.put("/api/user-limits/nobody/max-channels", r#"{"value":1}"#).await.refusal();
        assert_eq!(nobody, refused(400, "bad_request", r#"["no_such_user","nobody"]"#));
        let plain = [("content-type", "text/plain")];
        api.send(hyper::Method::PUT, path, &plain, r#"{"value":1}"#).await.is(415);
        api.delete(path).await.is(204);
        api.delete("/api/user-limits/guest/max-channels").await.is(204);
        assert_eq!(api.get("/api/user-limits").await.ok(), json!([]));
    });
}

#[test]
fn a_virtual_host_is_made_used_protected_and_deleted() {
    scenario(async |broker, api| {
        let body = r#"{"description":"the shop","tags":"a,b","default_queue_type":"quorum","tracing":"true"}"#;
        api.put("/api/vhosts/shop", body).await.is(201);
        let shop = api.get("/api/vhosts/shop").await.ok();
        assert_eq!(shop["metadata"]["tags"], json!(["a", "b"]));
        assert_eq!((&shop["default_queue_type"], &shop["tracing"]), (&json!("quorum"), &json!(true)));
        assert_eq!(shop["cluster_state"], json!({"rabbit@localhost": "running"}));
        // Who made it may use it.
        let client = Client::try_connect_to(broker.address(), "shop").await.expect("guest may enter");
        drop(client);
        api.put("/api/vhosts/shop", r#"{"description":"closed"}"#).await.is(204);
        let shop = api.get("/api/vhosts/shop").await.ok();
        assert_eq!((&shop["description"], &shop["default_queue_type"]), (&json!("closed"), &json!("quorum")));
        api.post("/api/vhosts/shop/deletion/protection", "").await.is(204);
        let reason = "Refusing to delete virtual host 'shop' because it is protected from deletion";
        assert_eq!(api.delete("/api/vhosts/shop").await.refusal(), refused(412, "precondition_failed", reason));
        api.put("/api/vhosts/shop", "").await.is(204);
        api.delete("/api/vhosts/shop").await.is(412);
        api.delete("/api/vhosts/shop/deletion/protection").await.is(204);
        api.delete("/api/vhosts/shop").await.is(204);
        api.delete("/api/vhosts/shop").await.is(404);
        api.post("/api/vhosts/%2F/start/rabbit@localhost", "").await.is(204);
        api.post("/api/vhosts/%2F/start/rabbit@elsewhere", "").await.is(400);
    });
}

#[test]
fn virtual_hosts_that_cannot_be_are_refused() {
    scenario(async |_, api| {
        api.put("/api/vhosts/v", r#"{"default_queue_type":"stack"}"#).await.is(400);
        api.put("/api/vhosts/v", r#"{"tags":[1]}"#).await.is(400);
        api.put("/api/vhosts/v", r#"{"description":1}"#).await.is(400);
        api.put("/api/vhosts/v", r#"{"tracing":"perhaps"}"#).await.is(400);
        api.put(&format!("/api/vhosts/{}", "v".repeat(256)), "").await.is(400);
        assert_eq!(api.get("/api/vhosts?columns=name").await.ok(), json!([{"name": "/"}]));
    });
}

#[test]
fn lists_come_in_pages() {
    scenario(async |_, api| {
        for n in 0..5 {
            api.put(&format!("/api/vhosts/v{n}"), "").await.is(201);
        }
        let page = api.get("/api/vhosts?page=2&page_size=2&name=v&sort=name&sort_reverse=true&columns=name").await.ok();
        let expected = json!({"total_count": 6, "item_count": 2, "filtered_count": 5, "page": 2, "page_size": 2,
            "page_count": 3, "items": [{"name": "v2"}, {"name": "v1"}]});
        assert_eq!(page, expected);
        let reason = "Page out of range, page: 9 page size: 100, len: 6";
        assert_eq!(api.get("/api/vhosts?page=9").await.refusal(), refused(400, "page_out_of_range", reason));
        let expected = refused(400, "bad_request", "Pagination parameters are invalid");
        assert_eq!(api.get("/api/vhosts?page=x").await.refusal(), expected);
    });
}

#[test]
fn a_form_logs_in() {
    scenario(async |_, api| {
        let form = [("content-type", "application/x-www-form-urlencoded")];
        let login = async |body: &str| api.nobody().send(hyper::Method::POST, "/api/login", &form, body).await;
        let answer = login("username=guest&password=guest").await.ok();
        assert_eq!(answer["token"], json!({"type": "basic", "value": "Z3Vlc3Q6Z3Vlc3Q="}));
        assert_eq!((&answer["user"]["name"], &answer["name"]), (&json!("guest"), &json!("guest")));
        assert_eq!(login("username=guest&password=x").await.status, 401);
        assert_eq!(login("username=guest").await.status, 401);
        assert_eq!(login("").await.status, 401);
    });
}
