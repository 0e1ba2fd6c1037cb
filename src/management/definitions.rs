//! Definitions: exported and imported whole, or of one virtual host.
//!
//! A body is JSON, or a form with a part named `file`, as web pages send it. Deliberately absent: what is in a document,
//! see [`crate::broker::portable`].

use axum::body::Body;
use axum::extract::{DefaultBodyLimit, FromRequest, Multipart};
use axum::http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};
use axum::http::{HeaderValue, Request};
use serde_json::{Map, Value, json};

use super::answer::{Answer, ApiError, Outcome};
use super::call::Call;
use super::overview::PRODUCT;
use super::route::{Access, Route, get, post};
use crate::broker::portable::{self, Definitions, ImportError};

/// The part of a form that holds the document.
const FILE: &str = "file";

pub(super) fn routes() -> Vec<Route> {
    const OF_VHOST: &str = "/api/definitions/{vhost}";
    // The old name of the same.
    const OLD: &str = "/api/all-configuration";
    vec![
        get("/api/definitions", Access::Administrator, export),
        post("/api/definitions", Access::Administrator, import),
        get(OLD, Access::Administrator, export),
        post(OLD, Access::Administrator, import),
        get(OF_VHOST, Access::Administrator, export_vhost),
        post(OF_VHOST, Access::Administrator, import_vhost),
    ]
}

/// Who exports.
fn facts(call: &Call, document: &mut Map<String, Value>) {
    let version = call.broker.config.profile().version;
    for (key, value) in [
        ("rabbit_version", version),
        ("rabbitmq_version", version),
        ("product_name", PRODUCT),
        ("product_version", env!("CARGO_PKG_VERSION")),
    ] {
        document.insert(key.to_owned(), value.into());
    }
}

/// The document as an answer, to be stored under a name if one is given.
fn download(call: &Call, document: &Map<String, Value>) -> Outcome {
    let answer = Answer::json(document);
    let Some(name) = call.query.get("download") else { return Ok(answer) };
    // RabbitMQ takes what HTTP calls a token; nothing in it can end the header or leave the folder.
    let token = |octet: u8| octet.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&octet);
    if name.is_empty() || !name.bytes().all(token) {
        return Err(ApiError::bad_request("download should be the name of a file"));
    }
    let value = HeaderValue::from_str(&format!("attachment; filename={name}"));
    Ok(match value {
        Ok(value) => answer.with(CONTENT_DISPOSITION, value),
        Err(_) => answer,
    })
}

async fn export(call: Call) -> Outcome {
    let mut document = portable::export(&call.broker);
    facts(&call, &mut document);
    let name = call.broker.cluster_name();
    document.insert("rabbitmq_definition_format".to_owned(), "cluster".into());
    document.insert("explanation".to_owned(), format!("Definitions of cluster '{name}'").into());
    document.insert("original_cluster_name".to_owned(), name.into());
    download(&call, &document)
}

async fn export_vhost(call: Call) -> Outcome {
    // Here RabbitMQ answers 400, not 404.
    let vhost = call.broker.vhost(call.name("vhost")).ok_or_else(|| ApiError::bad_request("vhost_not_found"))?;
    let mut document = portable::export_vhost(&call.broker, &vhost);
    facts(&call, &mut document);
    document.insert("rabbitmq_definition_format".to_owned(), "single_virtual_host".into());
    document.insert("explanation".to_owned(), format!("Definitions of virtual host '{}'", vhost.name).into());
    document.insert("original_vhost_name".to_owned(), json!(vhost.name));
    download(&call, &document)
}

/// The document of a body.
async fn document(call: &Call) -> Result<Vec<u8>, ApiError> {
    if !call.is_of_type("multipart/form-data") {
        return Ok(call.body.to_vec());
    }
    let wrong = |problem: String| ApiError::bad_request(format!("the form cannot be read: {problem}"));
    let mut request = Request::new(Body::from(call.body.clone()));
    if let Some(value) = call.headers.get(CONTENT_TYPE) {
        request.headers_mut().insert(CONTENT_TYPE, value.clone());
    }
    // The body has been read already, within the limit there is for all of them.
    DefaultBodyLimit::disable().apply(&mut request);
    let mut form = Multipart::from_request(request, &()).await.map_err(|error| wrong(error.to_string()))?;
    while let Some(part) = form.next_field().await.map_err(|error| wrong(error.to_string()))? {
        if part.name() == Some(FILE) {
            return part.bytes().await.map(|bytes| bytes.to_vec()).map_err(|error| wrong(error.to_string()));
        }
    }
    Err(ApiError::bad_request("the form has no part named file"))
}

fn refused(error: ImportError) -> ApiError {
    tracing::warn!("definitions are refused: {error}");
    // The word that clients look for.
    let is_no_document = ["failed_to_parse_json", "definitions are an object"].iter();
    if error.path.is_empty() && is_no_document.clone().any(|start| error.problem.starts_with(start)) {
        return ApiError::bad_request("failed_to_parse_json");
    }
    ApiError::bad_request(error.to_string())
}

async fn import(call: Call) -> Outcome {
    let definitions = Definitions::parse(&document(&call).await?).map_err(refused)?;
    portable::import(&call.broker, definitions).await.map_err(refused)?;
    Ok(Answer::done())
}

async fn import_vhost(call: Call) -> Outcome {
    let vhost = call.vhost_to_change()?;
    let definitions = Definitions::parse_for_vhost(&document(&call).await?, &vhost.name).map_err(refused)?;
    portable::import(&call.broker, definitions).await.map_err(refused)?;
    Ok(Answer::done())
}
