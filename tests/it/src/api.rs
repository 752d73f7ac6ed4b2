//! A client of the hub's HTTP API, as a partner would write one.

use std::net::SocketAddr;

use reqwest::{Method, StatusCode, header};
use serde_json::{Value, json};

/// A logged-in session.
pub struct Api {
    client: reqwest::Client,
    base: String,
    cookie: String,
    csrf: String,
}

/// An HTTP client; installs the TLS provider that it insists on.
#[must_use]
pub fn http() -> reqwest::Client {
    // Another test of the same process may have installed it.
    drop(rustls::crypto::ring::default_provider().install_default());
    reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).no_proxy().build().unwrap()
}

impl Api {
    /// Logs in.
    ///
    /// # Panics
    /// If it is refused.
    pub async fn login(web: SocketAddr, username: &str, password: &str) -> Self {
        let client = http();
        let base = format!("http://{web}");
        let answer = client
            .post(format!("{base}/api/v1/login"))
            .json(&json!({ "username": username, "password": password }))
            .send()
            .await
            .unwrap();
        assert_eq!(answer.status(), StatusCode::OK);
        let cookie = answer.headers()[header::SET_COOKIE].to_str().unwrap();
        let cookie = cookie.split(';').next().unwrap().to_owned();
        let mut api = Self { client, base, cookie, csrf: String::new() };
        api.csrf = api.get("/api/v1/me").await["csrf"].as_str().unwrap().to_owned();
        api
    }

    /// Reads a resource.
    ///
    /// # Panics
    /// If the answer is not 200 with JSON.
    pub async fn get(&self, path: &str) -> Value {
        let (status, body) = self.send(Method::GET, path, None).await;
        assert_eq!(status, StatusCode::OK, "GET {path}: {body}");
        body
    }

    /// Changes a resource.
    ///
    /// # Panics
    /// If the answer is not a success with JSON.
    pub async fn post(&self, path: &str, body: Value) -> Value {
        let (status, body) = self.send(Method::POST, path, Some(body)).await;
        assert!(status.is_success(), "POST {path}: {status} {body}");
        body
    }

    /// Sends any request; returns status and JSON (null if there is none).
    ///
    /// # Panics
    /// If the hub does not answer.
    pub async fn send(&self, method: Method, path: &str, body: Option<Value>) -> (StatusCode, Value) {
        let mut request = self
            .client
            .request(method, format!("{}{path}", self.base))
            .header(header::COOKIE, &self.cookie)
            .header("x-csrf-token", &self.csrf);
        if let Some(body) = body {
            request = request.json(&body);
        }
        let answer = request.send().await.unwrap();
        let status = answer.status();
        (status, answer.json().await.unwrap_or(Value::Null))
    }

    /// The open tickets of a kind.
    pub async fn tickets(&self, state: &str, kind: &str) -> Vec<Value> {
        let page = self.get(&format!("/api/v1/tickets?state={state}&kind={kind}&limit=100")).await;
        page["tickets"].as_array().unwrap().clone()
    }

    /// Every ticket of a kind, however many: page after page.
    pub async fn all_tickets(&self, state: &str, kind: &str) -> Vec<Value> {
        let path = format!("/api/v1/tickets?state={state}&kind={kind}&limit=200");
        let mut tickets = Vec::new();
        let mut page = self.get(&path).await;
        loop {
            tickets.append(page["tickets"].as_array_mut().unwrap());
            let Some(next) = page["next"].as_str() else { return tickets };
            page = self.get(&format!("{path}&before={next}")).await;
        }
    }

    /// The milestones of a ticket, by name.
    pub async fn milestones(&self, ticket: &str) -> Vec<String> {
        let detail = self.get(&format!("/api/v1/tickets/{ticket}")).await;
        let kinds = detail["milestones"].as_array().unwrap().iter();
        kinds.map(|milestone| milestone["kind"].as_str().unwrap().to_owned()).collect()
    }
}
