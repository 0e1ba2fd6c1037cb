//! Policies, parameters and limits.

use serde_json::json;

use crate::api::{refused, scenario};

#[test]
fn a_policy_is_set_read_and_cleared() {
    scenario(async |_, api| {
        let path = "/api/policies/%2F/ttl";
        let body = r#"{"pattern":"^q","definition":{"message-ttl":1000},"priority":3,"apply-to":"queues"}"#;
        api.put(path, body).await.is(201);
        api.put(path, body).await.is(204);
        let policy = json!({"vhost": "/", "name": "ttl", "pattern": "^q", "apply-to": "queues",
            "definition": {"message-ttl": 1000}, "priority": 3});
        assert_eq!(api.get(path).await.ok(), policy);
        assert_eq!(api.get("/api/policies").await.ok(), json!([policy]));
        assert_eq!(api.get("/api/policies/%2F").await.ok(), json!([policy]));
        assert_eq!(api.get("/api/operator-policies/%2F").await.ok(), json!([]));
        api.delete(path).await.is(204);
        api.delete(path).await.is(404);
        api.get("/api/policies/nowhere").await.is(404);
    });
}

#[test]
fn policies_that_cannot_be_are_refused_in_rabbitmqs_words() {
    scenario(async |_, api| {
        let path = "/api/policies/%2F/bad";
        let reason = api.put(path, r#"{"pattern":".*"}"#).await.is(400).reason();
        assert_eq!(reason, "[{key_missing,definition}]");
        let reason = api.put(path, r#"{"pattern":".*","definition":{"foo":1}}"#).await.is(400).reason();
        assert_eq!(reason, "Validation failed\n\n[{<<\"foo\">>,1}] are not recognised policy settings\n");
        for body in [
            r#"{"pattern":"[","definition":{"max-length":1}}"#,
            r#"{"pattern":".*","definition":[]}"#,
            r#"{"pattern":1,"definition":{"max-length":1}}"#,
            r#"{"pattern":".*","definition":{"max-length":1},"priority":"high"}"#,
            r#"{"pattern":".*","definition":{"max-length":1},"apply-to":"everything"}"#,
        ] {
            api.put(path, body).await.is(400);
        }
        let expected = refused(404, "not_found", "vhost_not_found");
        let body = r#"{"pattern":".*","definition":{"max-length":1}}"#;
        assert_eq!(api.put("/api/policies/nowhere/p", body).await.refusal(), expected);
        assert_eq!(api.get("/api/policies").await.ok(), json!([]));
    });
}

#[test]
fn operators_policies_are_parameters_too() {
    scenario(async |_, api| {
        let body = r#"{"pattern":".*","definition":{"max-length":10},"apply-to":"queues"}"#;
        api.put("/api/operator-policies/%2F/cap", body).await.is(201);
        let parameter = api.get("/api/parameters/operator_policy/%2F/cap").await.ok();
        let value = json!({"pattern": ".*", "definition": {"max-length": 10}, "priority": 0, "apply-to": "queues"});
        assert_eq!(parameter["value"], value);
        api.delete("/api/parameters/operator_policy/%2F/cap").await.is(204);
        api.get("/api/operator-policies/%2F/cap").await.is(404);
        let reason = api.put("/api/parameters/policy/%2F/p", r#"{"value":{}}"#).await.is(400).reason();
        assert_eq!(reason, "policies may not be set using this method");
    });
}

#[test]
fn limits_of_a_virtual_host_are_parameters_too() {
    scenario(async |_, api| {
        let path = "/api/vhost-limits/%2F/max-queues";
        api.put(path, r#"{"value":3}"#).await.is(204);
        api.put("/api/vhost-limits/%2F/max-connections", r#"{"value":-1}"#).await.is(204);
        let value = json!({"max-queues": 3, "max-connections": -1});
        assert_eq!(api.get("/api/vhost-limits").await.ok(), json!([{"vhost": "/", "value": value}]));
        let parameters = api.get("/api/parameters/vhost-limits").await.ok();
        let expected = json!([{"vhost": "/", "component": "vhost-limits", "name": "limits", "value": value}]);
        assert_eq!(parameters, expected);
        api.put(path, r#"{"value":"3"}"#).await.is(400);
        api.put("/api/vhost-limits/%2F/max-shoes", r#"{"value":3}"#).await.is(400);
        let expected = refused(404, "not_found", "vhost_not_found");
        assert_eq!(api.put("/api/vhost-limits/nowhere/max-queues", r#"{"value":3}"#).await.refusal(), expected);
        let plain = [("content-type", "text/plain")];
        api.send(hyper::Method::PUT, path, &plain, r#"{"value":1}"#).await.is(415);
        api.delete(path).await.is(204);
        assert_eq!(api.get("/api/vhost-limits/%2F").await.ok()[0]["value"], json!({"max-connections": -1}));
        api.get("/api/vhost-limits/nowhere").await.is(404);
    });
}

#[test]
fn shovels_and_federation_are_kept_and_listed_as_idle() {
    scenario(async |_, api| {
        let shovel = r#"{"value":{"src-uri":"amqp://","src-queue":"a","dest-uri":"amqp://","dest-queue":"b"}}"#;
        api.put("/api/parameters/shovel/%2F/move", shovel).await.is(201);
        api.put("/api/parameters/shovel/%2F/move", shovel).await.is(204);
        api.put("/api/parameters/federation-upstream/%2F/up", r#"{"value":{"uri":"amqp://"}}"#).await.is(201);
        let shovels = api.get("/api/shovels/%2F").await.ok();
        assert_eq!((&shovels[0]["name"], &shovels[0]["state"]), (&json!("move"), &json!("terminated")));
        assert_eq!(api.get("/api/federation-links").await.ok(), json!([]), "no policy asks for it");
        let policy = r#"{"pattern":"^fed","definition":{"federation-upstream":"up"},"apply-to":"exchanges"}"#;
        api.put("/api/policies/%2F/fed", policy).await.is(201);
        let links = api.get("/api/federation-links/%2F").await.ok();
        let link = [("upstream", "up"), ("type", "exchange"), ("uri", "amqp://"), ("status", "error"), ("id", "up")];
        assert!(link.iter().all(|(key, value)| links[0][*key] == *value), "{links}");
        api.delete("/api/policies/%2F/fed").await.is(204);
        let reason = api.put("/api/parameters/foo/%2F/x", r#"{"value":{}}"#).await.is(400).reason();
        assert_eq!(reason, "Validation failed\n\ncomponent foo not found\n");
        api.put("/api/parameters/shovel/%2F/x", "{}").await.is(400);
        let upstream = "/api/parameters/federation-upstream/%2F/x";
        let reason = api.put(upstream, r#"{"value":{"uri":null}}"#).await.is(400).reason();
        assert_eq!(reason, "Validation failed\n\nuri should be list, actually was null\n");
        api.get(upstream).await.is(404);
        api.delete("/api/parameters/shovel/%2F/move").await.is(204);
        api.delete("/api/parameters/shovel/%2F/move").await.is(404);
        assert_eq!(api.get("/api/shovels").await.ok(), json!([]));
    });
}

#[test]
fn global_parameters_are_any_json() {
    scenario(async |_, api| {
        let path = "/api/global-parameters/label";
        api.put(path, r#"{"value":{"team":["a",1]}}"#).await.is(201);
        api.put(path, r#"{"value":"text"}"#).await.is(204);
        assert_eq!(api.get(path).await.ok(), json!({"name": "label", "value": "text"}));
        let names = api.get("/api/global-parameters?columns=name").await.ok();
        assert_eq!(names, json!([{"name": "cluster_tags"}, {"name": "internal_cluster_id"}, {"name": "label"}]));
        api.delete("/api/global-parameters/cluster_tags").await.is(204);
        api.get("/api/global-parameters/cluster_tags").await.is(404);
        api.delete("/api/global-parameters/cluster_tags").await.is(404);
        api.delete(path).await.is(204);
        api.delete(path).await.is(404);
        api.put(path, "{}").await.is(400);
    });
}

#[test]
fn parameters_and_policies_go_with_their_virtual_host() {
    scenario(async |_, api| {
        api.put("/api/vhosts/v", "").await.is(201);
        api.put("/api/parameters/federation/v/x", r#"{"value":{}}"#).await.is(201);
        api.delete("/api/vhosts/v").await.is(204);
        api.put("/api/vhosts/v", "").await.is(201);
        assert_eq!(api.get("/api/parameters/federation/v").await.ok(), json!([]));
    });
}
