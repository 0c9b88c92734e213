//! A client that performs all steps, and stops at the first unexpected response.

use std::time::Duration;

use axum::http::{Method, StatusCode};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Value, json};
use tokio::time;

use crate::{
    BoxError,
    authorization::{Authorization, DEMO_PASSWORD, generate_key},
    browser::{Answer, Browser},
    website::FOLLOW_INTERVAL,
};

const EVIL: &str = "https://evil.example";

struct Demo<'a> {
    browser: Browser,
    /// The origins of the two servers.
    id: &'a str,
    web: &'a str,
    xsrf_token: String,
}

pub(crate) async fn run(authorization: &Authorization, id: &str, web: &str) -> Result<(), BoxError> {
    let mut demo = Demo { browser: Browser::new(), id, web, xsrf_token: String::new() };
    println!("authorization server {id}, website {web}");
    demo.sign_in().await?;
    demo.use_cookies().await?;
    demo.attack().await?;
    demo.use_a_bearer_token().await?;
    demo.change_the_key(authorization).await?;
    demo.sign_out().await
}

impl Demo<'_> {
    async fn sign_in(&mut self) -> Result<(), BoxError> {
        println!("\nSigning in");
        let answer = self.at_web(self.web, Method::GET, "/api/me", &[]).await?;
        expect("GET /api/me: not signed in", &answer, StatusCode::UNAUTHORIZED)?;

        let form = json!({ "username": "ada", "password": DEMO_PASSWORD }).to_string();
        let answer = self.at_id("/api/login", &[("content-type", "application/json")], &form).await?;
        expect("POST /api/login from the website's page", &answer, StatusCode::OK)?;
        ensure("the page can read the response (CORS with credentials)", answer.is_readable_by(self.web))?;
        answer.text("xsrfToken").clone_into(&mut self.xsrf_token);
        println!("  cookies: {}", self.browser.cookie_names());
        Ok(())
    }

    async fn use_cookies(&mut self) -> Result<(), BoxError> {
        println!("\nThe website verifies the cookie with the published key");
        let answer = self.me_once_keys_are_there().await?;
        expect(&format!("GET /api/me: {}", answer.body), &answer, StatusCode::OK)?;
        let answer = self.order(self.web, true).await?;
        expect("POST /api/orders with the XSRF header", &answer, StatusCode::CREATED)
    }

    async fn attack(&mut self) -> Result<(), BoxError> {
        println!("\nForged requests");
        let answer = self.order(self.web, false).await?;
        expect("POST /api/orders without the XSRF header", &answer, StatusCode::FORBIDDEN)?;
        let answer = self.order(EVIL, true).await?;
        expect("POST /api/orders from a page of evil.example", &answer, StatusCode::FORBIDDEN)?;
        let refresh = format!("{}/api/refresh", self.id);
        let answer = self.browser.fetch(EVIL, Method::POST, refresh, &[], "").await?;
        expect("POST /api/refresh from a page of evil.example", &answer, StatusCode::FORBIDDEN)?;
        ensure("that page cannot read the response", !answer.is_readable_by(EVIL))
    }

    /// For clients other than browsers: an access token with fewer scopes, which is only in the response body.
    async fn use_a_bearer_token(&mut self) -> Result<(), BoxError> {
        println!("\nA bearer token");
        let form = [("content-type", "application/x-www-form-urlencoded")];
        let answer = self.at_id("/api/refresh", &form, "scope=orders%3Aread").await?;
        expect("POST /api/refresh: an access token with fewer scopes", &answer, StatusCode::OK)?;
        let bearer = format!("Bearer {}", answer.text("access_token"));

        // Stands for a program, so it has no cookies.
        let mut program = Browser::new();
        let headers = [("authorization", &*bearer)];
        let me = format!("{}/api/me", self.web);
        let answer = program.fetch(self.web, Method::GET, me, &headers, "").await?;
        expect(&format!("GET /api/me: {}", answer.body), &answer, StatusCode::OK)?;
        let orders = format!("{}/api/orders", self.web);
        let answer = program.fetch(self.web, Method::POST, orders, &headers, "a pot").await?;
        expect("POST /api/orders: the token lacks the scope", &answer, StatusCode::FORBIDDEN)
    }

    async fn change_the_key(&mut self, authorization: &Authorization) -> Result<(), BoxError> {
        println!("\nThe authorization server rotates its key");
        let next = generate_key("2026-11")?;
        authorization.announce(&next)?;
        println!("  2026-11 is published, 2026-10 still signs; websites have time to learn the new key");
        time::sleep(4 * FOLLOW_INTERVAL).await;
        authorization.sign_with(next)?;

        let answer = self.at_web(self.web, Method::GET, "/api/me", &[]).await?;
        expect(
            &format!("GET /api/me: a token signed by {} is still valid", self.kid()?),
            &answer,
            StatusCode::OK,
        )?;
        let answer = self.at_id("/api/refresh", &[], "").await?;
        expect("POST /api/refresh", &answer, StatusCode::OK)?;
        ensure("the new token is signed by 2026-11", self.kid()? == "2026-11")?;
        let answer = self.at_web(self.web, Method::GET, "/api/me", &[]).await?;
        expect("GET /api/me: the new token is valid", &answer, StatusCode::OK)
    }

    async fn sign_out(&mut self) -> Result<(), BoxError> {
        println!("\nSigning out");
        let answer = self.at_id("/api/logout", &[], "").await?;
        expect("POST /api/logout", &answer, StatusCode::NO_CONTENT)?;
        ensure("all cookies are cleared", self.browser.cookie_names().is_empty())?;
        let answer = self.at_web(self.web, Method::GET, "/api/me", &[]).await?;
        expect("GET /api/me: not signed in", &answer, StatusCode::UNAUTHORIZED)
    }

    /// Sends a request from the website's page to the authorization server.
    async fn at_id(&mut self, path: &str, headers: &[(&str, &str)], body: &str) -> Result<Answer, BoxError> {
        self.browser.fetch(self.web, Method::POST, format!("{}{path}", self.id), headers, body).await
    }

    /// Sends a request from a page to the website.
    async fn at_web(
        &mut self,
        page: &str,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
    ) -> Result<Answer, BoxError> {
        self.browser.fetch(page, method, format!("{}{path}", self.web), headers, "a pot").await
    }

    async fn order(&mut self, page: &str, with_xsrf: bool) -> Result<Answer, BoxError> {
        let xsrf_token = self.xsrf_token.clone();
        let headers = [("x-xsrf-token", &*xsrf_token)];
        self.at_web(page, Method::POST, "/api/orders", if with_xsrf { &headers } else { &[] }).await
    }

    /// Until the website has fetched the key set, it cannot verify tokens, and responds with 503 instead of 401.
    async fn me_once_keys_are_there(&mut self) -> Result<Answer, BoxError> {
        for _ in 0..100 {
            let answer = self.at_web(self.web, Method::GET, "/api/me", &[]).await?;
            if answer.status != StatusCode::SERVICE_UNAVAILABLE {
                return Ok(answer);
            }
            time::sleep(Duration::from_millis(50)).await;
        }
        Err("the website could not fetch the key set".into())
    }

    /// Returns the id of the key that has signed the access token.
    fn kid(&self) -> Result<String, BoxError> {
        let header = self.browser.cookie("__Host-access").split('.').next().unwrap_or_default();
        let header: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(header)?)?;
        Ok(header["kid"].as_str().unwrap_or_default().to_owned())
    }
}

fn expect(step: &str, answer: &Answer, status: StatusCode) -> Result<(), BoxError> {
    println!("  {} {step}", answer.status.as_u16());
    match answer.status == status {
        true => Ok(()),
        false => Err(format!("{step}: expected {status}, got {}", answer.status).into()),
    }
}

fn ensure(step: &str, holds: bool) -> Result<(), BoxError> {
    if !holds {
        return Err(format!("failed: {step}").into());
    }
    println!("  ok  {step}");
    Ok(())
}
