//! A gallery of issuers: for each a key set and tokens in the shape in which it publishes and signs them, made here with
//! keys of the tests, and the lines that a user of it writes.

use base64::{
    Engine,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use jsonwebtoken::{Algorithm, EncodingKey};
use serde_json::{Map, Value, json};
use tower_cookie_jwt::{
    ConfigError, KeyRing, Verifier,
    keys::{self, Key},
    token::{TokenErrorKind, VerifierBuilder},
};

use crate::{
    forge,
    keys::{P256, P256_PUBLIC, RSA_2048, RSA_2048_PUBLIC},
};

/// The custom claims, whatever they are.
type Anything = Map<String, Value>;

struct Issuer {
    name: &'static str,
    algorithm: Algorithm,
    /// What its JWK has beside the key itself.
    jwk: Value,
    /// Other keys of its set.
    others: Vec<Value>,
    header: Value,
    claims: Value,
    /// What its users write.
    verifier: fn(VerifierBuilder<Anything>) -> Result<Verifier<Anything>, ConfigError>,
    subject: &'static str,
    scopes: &'static [&'static str],
    /// A claim that the application reads.
    custom: (&'static str, Value),
    /// Other tokens of the issuer that must not be accepted as access tokens: what differs, and why they are refused.
    refused: Vec<(&'static str, Value, TokenErrorKind)>,
}

const EXP: u64 = 4_102_444_800;

fn public_jwk(algorithm: Algorithm) -> Value {
    let key = match algorithm {
        Algorithm::ES256 => Key::from_public_pem(keys::Algorithm::ES256, P256_PUBLIC),
        _ => Key::from_public_pem(keys::Algorithm::RS256, RSA_2048_PUBLIC),
    };
    let ring = KeyRing::verify_only([key.expect("a public key")]).expect("a ring");
    let set: Value = serde_json::from_str(&ring.public_jwks()).expect("JSON");
    let mut jwk = set["keys"][0].clone();
    for member in ["alg", "use"] {
        jwk.as_object_mut().expect("an object").remove(member);
    }
    jwk
}

fn merged(base: &Value, more: &Value) -> Value {
    let mut all = base.clone();
    for (name, value) in more.as_object().expect("an object") {
        match value {
            // What a token lacks that the other has.
            Value::Null => all.as_object_mut().expect("an object").remove(name),
            value => all.as_object_mut().expect("an object").insert(name.clone(), value.clone()),
        };
    }
    all
}

impl Issuer {
    fn set(&self) -> String {
        let own = merged(&public_jwk(self.algorithm), &self.jwk);
        let keys: Vec<Value> = self.others.iter().cloned().chain([own]).collect();
        json!({ "keys": keys }).to_string()
    }

    fn token(&self, header: &Value, claims: &Value) -> String {
        let key = match self.algorithm {
            Algorithm::ES256 => EncodingKey::from_ec_pem(P256.as_bytes()),
            _ => EncodingKey::from_rsa_pem(RSA_2048.as_bytes()),
        };
        forge::sign_with(self.algorithm, &key.expect("a key"), header.to_string(), claims.to_string())
    }
}

/// A certificate and its thumbprints, as they come with many keys.
fn certificate(thumbprint: &str) -> Value {
    json!({ "x5c": [STANDARD.encode([0x30; 600])], "x5t": thumbprint, "x5t#S256": URL_SAFE_NO_PAD.encode([7; 32]) })
}

fn rsa_oaep() -> Value {
    let encryption = json!({ "kid": "enc-1", "alg": "RSA-OAEP", "use": "enc" });
    merged(&merged(&public_jwk(Algorithm::RS256), &encryption), &certificate("enc"))
}

fn gallery() -> Vec<Issuer> {
    let jwk = |kid: &str| json!({ "kid": kid, "use": "sig", "alg": "RS256" });
    let rs256 = |kid: &str| json!({ "alg": "RS256", "typ": "JWT", "kid": kid });
    let without_typ = |kid: &str| json!({ "kid": kid, "alg": "RS256" });
    vec![
        Issuer {
            name: "Keycloak",
            algorithm: Algorithm::RS256,
            jwk: merged(&jwk("FJ86GcF3jTbNLOco4NvZkUCIUmfYCqoqtOQeMfbhNlE"), &certificate("kc")),
            others: vec![rsa_oaep()],
            header: rs256("FJ86GcF3jTbNLOco4NvZkUCIUmfYCqoqtOQeMfbhNlE"),
            claims: json!({
                "exp": EXP, "iat": 1_700_000_000, "auth_time": 1_700_000_000, "jti": "onrtac:5d1a", "typ": "Bearer",
                "iss": "https://id.example/realms/shop", "aud": ["shop-api", "account"], "azp": "shop-web",
                "sub": "f3b2a1c0-0000-4000-8000-000000000001", "sid": "8e2f", "acr": "1",
                "allowed-origins": ["https://shop.example"], "scope": "openid email profile",
                "realm_access": { "roles": ["offline_access", "clerk"] },
                "resource_access": { "account": { "roles": ["manage-account"] } },
                "email_verified": true, "preferred_username": "ada",
            }),
            verifier: |builder| {
                builder.with_issuer("https://id.example/realms/shop").with_audience("shop-api").build()
            },
            subject: "f3b2a1c0-0000-4000-8000-000000000001",
            scopes: &["openid", "email", "profile"],
            custom: ("realm_access", json!({ "roles": ["offline_access", "clerk"] })),
            refused: vec![
                (
                    "ID token",
                    json!({ "aud": "shop-web", "typ": "ID", "scope": null }),
                    TokenErrorKind::WrongAudience,
                ),
                (
                    "another realm",
                    json!({ "iss": "https://id.example/realms/desk" }),
                    TokenErrorKind::WrongIssuer,
                ),
            ],
        },
        Issuer {
            name: "Auth0",
            algorithm: Algorithm::RS256,
            jwk: merged(&jwk("NkFCNEE1NDFDNTQ5"), &certificate("NkFCNEE1NDFDNTQ5")),
            others: vec![],
            header: rs256("NkFCNEE1NDFDNTQ5"),
            claims: json!({
                "iss": "https://shop.eu.auth0.com/", "sub": "auth0|6500c1",
                "aud": ["https://api.shop.example", "https://shop.eu.auth0.com/userinfo"],
                "iat": 1_700_000_000, "exp": EXP, "azp": "aBcD", "scope": "openid profile read:orders",
                "permissions": ["read:orders"], "https://shop.example/roles": ["clerk"],
            }),
            verifier: |builder| {
                builder
                    .with_issuer("https://shop.eu.auth0.com/")
                    .with_audience("https://api.shop.example")
                    .build()
            },
            subject: "auth0|6500c1",
            scopes: &["openid", "read:orders"],
            custom: ("https://shop.example/roles", json!(["clerk"])),
            refused: vec![(
                "ID token",
                json!({ "aud": "aBcD", "nonce": "n" }),
                TokenErrorKind::WrongAudience,
            )],
        },
        Issuer {
            name: "Okta",
            algorithm: Algorithm::RS256,
            jwk: jwk("r7Ab"),
            others: vec![],
            header: without_typ("r7Ab"),
            claims: json!({
                "ver": 1, "jti": "AT.0mP4JKAZX1iACIT4vbEDF7LpvDVjxypPMf0D7uX39RE",
                "iss": "https://shop.okta.com/oauth2/default", "aud": "api://default", "iat": 1_700_000_000,
                "exp": EXP, "cid": "0oa1", "uid": "00u1", "scp": ["openid", "orders"], "auth_time": 1_700_000_000,
                "sub": "ada@shop.example", "groups": ["clerks"],
            }),
            verifier: |builder| {
                let builder = builder.with_issuer("https://shop.okta.com/oauth2/default");
                builder.with_audience("api://default").with_scope_claim("scp").build()
            },
            subject: "ada@shop.example",
            scopes: &["openid", "orders"],
            custom: ("groups", json!(["clerks"])),
            refused: vec![(
                "ID token",
                json!({ "aud": "0oa1", "amr": ["pwd"] }),
                TokenErrorKind::WrongAudience,
            )],
        },
        Issuer {
            name: "Microsoft Entra ID, v2.0",
            algorithm: Algorithm::RS256,
            // Without `alg`.
            jwk: merged(
                &json!({
                    "use": "sig", "kid": "nOo3ZDrODXEK1jKWhXslHR_KXEg", "cloud_instance_name": "microsoftonline.com",
                    "issuer": "https://login.microsoftonline.com/9a0b/v2.0",
                }),
                &certificate("nOo3ZDrODXEK1jKWhXslHR_KXEg"),
            ),
            others: vec![],
            header: rs256("nOo3ZDrODXEK1jKWhXslHR_KXEg"),
            claims: json!({
                "aud": "0d1e-api", "iss": "https://login.microsoftonline.com/9a0b/v2.0", "iat": 1_700_000_000,
                "nbf": 1_700_000_000, "exp": EXP, "aio": "AXQ", "azp": "5c1f-web", "azpacr": "1", "name": "Ada",
                "oid": "a1", "preferred_username": "ada@shop.example", "rh": "0.A", "roles": ["Clerk"],
                "scp": "orders.read orders.write", "sub": "hKQx", "tid": "9a0b", "uti": "u", "ver": "2.0",
            }),
            verifier: |builder| {
                let builder = builder.with_issuer("https://login.microsoftonline.com/9a0b/v2.0");
                builder.with_audience("0d1e-api").with_scope_claim("scp").build()
            },
            subject: "hKQx",
            scopes: &["orders.read", "orders.write"],
            custom: ("roles", json!(["Clerk"])),
            refused: vec![
                ("ID token", json!({ "aud": "5c1f-web" }), TokenErrorKind::WrongAudience),
                (
                    "another tenant",
                    json!({ "iss": "https://login.microsoftonline.com/ffff/v2.0", "tid": "ffff" }),
                    TokenErrorKind::WrongIssuer,
                ),
            ],
        },
        Issuer {
            name: "Microsoft Entra ID, v1.0",
            algorithm: Algorithm::RS256,
            jwk: merged(&json!({ "use": "sig", "kid": "nOo3" }), &certificate("nOo3")),
            others: vec![],
            header: merged(&rs256("nOo3"), &json!({ "x5t": "nOo3" })),
            claims: json!({
                "aud": "api://shop", "iss": "https://sts.windows.net/9a0b/", "iat": 1_700_000_000,
                "nbf": 1_700_000_000, "exp": EXP, "acr": "1", "amr": ["pwd", "mfa"], "appid": "5c1f", "appidacr": "1",
                "ipaddr": "192.0.2.1", "oid": "a1", "scp": "orders.read", "sub": "hKQx", "tid": "9a0b",
                "unique_name": "ada@shop.example", "ver": "1.0",
            }),
            verifier: |builder| {
                let builder =
                    builder.with_issuer("https://sts.windows.net/9a0b/").with_audience("api://shop");
                builder.with_scope_claim("scp").build()
            },
            subject: "hKQx",
            scopes: &["orders.read"],
            custom: ("appid", json!("5c1f")),
            refused: vec![],
        },
        Issuer {
            name: "Amazon Cognito",
            algorithm: Algorithm::RS256,
            jwk: jwk("abcdefghijklmnop="),
            others: vec![merged(
                &public_jwk(Algorithm::ES256),
                &json!({ "kid": "other", "alg": "ES256", "use": "sig" }),
            )],
            header: without_typ("abcdefghijklmnop="),
            // Without `aud`.
            claims: json!({
                "sub": "aaaaaaaa-bbbb", "cognito:groups": ["clerks"], "client_id": "xxxxexample", "origin_jti": "o",
                "iss": "https://cognito-idp.eu-central-1.amazonaws.com/eu-central-1_Example", "version": 2,
                "event_id": "e", "token_use": "access", "scope": "aws.cognito.signin.user.admin shop/orders",
                "auth_time": 1_700_000_000, "exp": EXP, "iat": 1_700_000_000, "jti": "j", "username": "ada",
            }),
            verifier: |builder| {
                let issuer = "https://cognito-idp.eu-central-1.amazonaws.com/eu-central-1_Example";
                let builder = builder.with_issuer(issuer).without_audience();
                builder.with_required_claims(["client_id"]).build()
            },
            subject: "aaaaaaaa-bbbb",
            scopes: &["shop/orders"],
            custom: ("client_id", json!("xxxxexample")),
            refused: vec![(
                "ID token",
                json!({ "aud": "xxxxexample", "client_id": null, "token_use": "id", "scope": null }),
                TokenErrorKind::MissingClaim,
            )],
        },
        Issuer {
            name: "Google, at the sign-in itself",
            algorithm: Algorithm::RS256,
            jwk: jwk("6a98"),
            others: vec![],
            header: rs256("6a98"),
            claims: json!({
                "iss": "https://accounts.google.com", "azp": "1234.apps.googleusercontent.com",
                "aud": "1234.apps.googleusercontent.com", "sub": "10769150350006150715113082367",
                "hd": "shop.example", "email": "ada@shop.example", "email_verified": true, "at_hash": "HK6E",
                "name": "Ada", "iat": 1_700_000_000, "exp": EXP, "nonce": "0394852-3190485-2490358",
            }),
            verifier: |builder| {
                let builder = builder.with_issuer("https://accounts.google.com");
                builder.with_audience("1234.apps.googleusercontent.com").build()
            },
            subject: "10769150350006150715113082367",
            scopes: &[],
            custom: ("hd", json!("shop.example")),
            refused: vec![(
                "for another client",
                json!({ "aud": "5678.apps.googleusercontent.com" }),
                TokenErrorKind::WrongAudience,
            )],
        },
        Issuer {
            name: "Firebase, whose ID token is the credential of the API",
            algorithm: Algorithm::RS256,
            // With a zero byte in front of the modulus, as its tools write it.
            jwk: merged(&jwk("de2"), &{
                let modulus = public_jwk(Algorithm::RS256)["n"].clone();
                let modulus = URL_SAFE_NO_PAD.decode(modulus.as_str().expect("text")).expect("base64url");
                json!({ "n": URL_SAFE_NO_PAD.encode([&[0][..], &modulus].concat()) })
            }),
            others: vec![],
            header: rs256("de2"),
            claims: json!({
                "iss": "https://securetoken.google.com/shop-1234", "aud": "shop-1234", "auth_time": 1_700_000_000,
                "user_id": "Ab12", "sub": "Ab12", "iat": 1_700_000_000, "exp": EXP, "email": "ada@shop.example",
                "email_verified": false, "role": "clerk",
                "firebase": { "identities": { "email": ["ada@shop.example"] }, "sign_in_provider": "password" },
            }),
            verifier: |builder| {
                builder
                    .with_issuer("https://securetoken.google.com/shop-1234")
                    .with_audience("shop-1234")
                    .build()
            },
            subject: "Ab12",
            scopes: &[],
            custom: ("role", json!("clerk")),
            refused: vec![("of another project", json!({ "aud": "desk-1" }), TokenErrorKind::WrongAudience)],
        },
        Issuer {
            name: "Apple, at the sign-in itself",
            algorithm: Algorithm::RS256,
            jwk: jwk("fh6Bs8C"),
            others: vec![jwk_without_material("W6WcOKB"), jwk_without_material("YuyXoY")],
            header: without_typ("fh6Bs8C"),
            claims: json!({
                "iss": "https://appleid.apple.com", "aud": "example.shop.web", "exp": EXP, "iat": 1_700_000_000,
                "sub": "000123.abc.0456", "c_hash": "x", "email": "ada@shop.example", "email_verified": "true",
                "is_private_email": "true", "auth_time": 1_700_000_000, "nonce_supported": true,
            }),
            verifier: |builder| {
                builder.with_issuer("https://appleid.apple.com").with_audience("example.shop.web").build()
            },
            subject: "000123.abc.0456",
            scopes: &[],
            custom: ("email_verified", json!("true")),
            refused: vec![],
        },
        Issuer {
            name: "Zitadel",
            algorithm: Algorithm::RS256,
            jwk: jwk("259837659237"),
            others: vec![],
            header: merged(&rs256("259837659237"), &json!({ "typ": "at+jwt" })),
            claims: json!({
                "aud": ["170086774599581953@shop", "170086824411201793"], "client_id": "170086774599581953@shop",
                "exp": EXP, "iat": 1_700_000_000, "iss": "https://shop.zitadel.cloud", "jti": "2", "nbf": 1_700_000_000,
                "sub": "170086824411201793", "scope": ["openid", "orders"],
                "urn:zitadel:iam:org:project:roles": { "clerk": { "170": "shop.example" } },
            }),
            verifier: |builder| {
                builder.with_issuer("https://shop.zitadel.cloud").with_audience("170086824411201793").build()
            },
            subject: "170086824411201793",
            scopes: &["openid", "orders"],
            custom: ("client_id", json!("170086774599581953@shop")),
            refused: vec![],
        },
        Issuer {
            name: "authentik, with ES256",
            algorithm: Algorithm::ES256,
            jwk: merged(&json!({ "kid": "a1", "use": "sig", "alg": "ES256" }), &certificate("a1")),
            others: vec![],
            header: json!({ "alg": "ES256", "kid": "a1", "typ": "JWT" }),
            claims: json!({
                "iss": "https://id.example/application/o/shop/", "sub": "d9f1", "aud": "yZ4", "exp": EXP,
                "iat": 1_700_000_000, "auth_time": 1_700_000_000, "acr": "goauthentik.io/providers/oauth2/default",
                "amr": ["pwd"], "azp": "yZ4", "uid": "q", "scope": "openid orders", "groups": ["clerks"], "sid": "s1",
            }),
            verifier: |builder| {
                builder.with_issuer("https://id.example/application/o/shop/").with_audience("yZ4").build()
            },
            subject: "d9f1",
            scopes: &["openid", "orders"],
            custom: ("groups", json!(["clerks"])),
            refused: vec![],
        },
        Issuer {
            name: "AD FS",
            algorithm: Algorithm::RS256,
            jwk: merged(&jwk("lMc"), &certificate("lMc")),
            others: vec![],
            header: merged(&rs256("lMc"), &json!({ "x5t": "lMc" })),
            // Its date of authentication is no number.
            claims: json!({
                "aud": "microsoft:identityserver:api://shop", "iss": "http://adfs.shop.example/adfs/services/trust",
                "iat": 1_700_000_000, "exp": EXP, "apptype": "Confidential", "appid": "5c1f", "ver": "1.0",
                "authmethod": "urn:oasis:names:tc:SAML:2.0:ac:classes:PasswordProtectedTransport",
                "auth_time": "2026-11-27T09:00:00.000Z", "scp": "openid orders", "sub": "kqG", "group": "clerks",
            }),
            verifier: |builder| {
                let builder = builder.with_issuer("http://adfs.shop.example/adfs/services/trust");
                builder.with_audience("microsoft:identityserver:api://shop").with_scope_claim("scp").build()
            },
            subject: "kqG",
            scopes: &["openid", "orders"],
            custom: ("group", json!("clerks")),
            refused: vec![],
        },
        Issuer {
            name: "Duende IdentityServer",
            algorithm: Algorithm::RS256,
            jwk: jwk("A1B2"),
            others: vec![],
            header: merged(&rs256("A1B2"), &json!({ "typ": "at+jwt" })),
            claims: json!({
                "iss": "https://id.shop.example", "nbf": 1_700_000_000, "iat": 1_700_000_000, "exp": EXP,
                "aud": "orders", "scope": ["orders.read", "openid"], "amr": ["pwd"], "client_id": "web", "sub": "88421113",
                "auth_time": 1_700_000_000, "idp": "local", "sid": "4B1C", "jti": "E1",
            }),
            verifier: |builder| {
                builder.with_issuer("https://id.shop.example").with_audience("orders").with_rfc9068().build()
            },
            subject: "88421113",
            scopes: &["orders.read", "openid"],
            custom: ("idp", json!("local")),
            refused: vec![("ID token", json!({ "aud": "web", "jti": null }), TokenErrorKind::WrongAudience)],
        },
        Issuer {
            name: "Kubernetes service accounts",
            algorithm: Algorithm::RS256,
            jwk: jwk("-Dk"),
            others: vec![],
            header: without_typ("-Dk"),
            claims: json!({
                "aud": ["shop"], "exp": EXP, "iat": 1_700_000_000, "iss": "https://kubernetes.default.svc.cluster.local",
                "jti": "7c", "nbf": 1_700_000_000, "sub": "system:serviceaccount:shop:web",
                "kubernetes.io": { "namespace": "shop", "pod": { "name": "web-0", "uid": "u" },
                    "serviceaccount": { "name": "web", "uid": "u" }, "warnafter": 1_700_003_607 },
            }),
            verifier: |builder| {
                builder
                    .with_issuer("https://kubernetes.default.svc.cluster.local")
                    .with_audience("shop")
                    .build()
            },
            subject: "system:serviceaccount:shop:web",
            scopes: &[],
            custom: (
                "kubernetes.io",
                json!({ "namespace": "shop", "pod": { "name": "web-0", "uid": "u" },
                "serviceaccount": { "name": "web", "uid": "u" }, "warnafter": 1_700_003_607 }),
            ),
            refused: vec![],
        },
        Issuer {
            name: "Ory Hydra",
            algorithm: Algorithm::RS256,
            jwk: jwk("public:hydra"),
            // The key that was rotated out, listed twice.
            others: vec![jwk_without_material("old"), rsa_oaep(), rsa_oaep()],
            header: rs256("public:hydra"),
            claims: json!({
                "aud": ["shop-api"], "client_id": "web", "exp": EXP, "ext": { "role": "clerk" }, "iat": 1_700_000_000,
                "iss": "https://id.example/", "jti": "j", "nbf": 1_700_000_000, "scp": ["openid", "orders"], "sub": "ada",
            }),
            verifier: |builder| {
                builder
                    .with_issuer("https://id.example/")
                    .with_audience("shop-api")
                    .with_scope_claim("scp")
                    .build()
            },
            subject: "ada",
            scopes: &["openid", "orders"],
            custom: ("ext", json!({ "role": "clerk" })),
            // Without an audience, unless the client asks for one.
            refused: vec![("without an audience", json!({ "aud": [] }), TokenErrorKind::WrongAudience)],
        },
    ]
}

/// A key of the set that signs nothing here.
fn jwk_without_material(kid: &str) -> Value {
    json!({ "kty": "RSA", "kid": kid, "use": "sig", "alg": "RS256", "n": URL_SAFE_NO_PAD.encode([0xff; 256]), "e": "AQAB" })
}

#[test]
fn the_tokens_of_well_known_issuers_are_accepted_with_the_lines_that_a_user_writes() {
    let gallery = gallery();
    assert!(gallery.len() >= 12);
    for issuer in &gallery {
        let name = issuer.name;
        let ring = KeyRing::from_jwks(issuer.set()).unwrap_or_else(|error| panic!("{name}: {error}"));
        let verifier =
            (issuer.verifier)(Verifier::builder(ring)).unwrap_or_else(|error| panic!("{name}: {error}"));
        let token = issuer.token(&issuer.header, &issuer.claims);
        for round in ["verified", "remembered"] {
            let claims = verifier.verify(&token).unwrap_or_else(|error| panic!("{name}, {round}: {error}"));
            assert_eq!(claims.subject(), Some(issuer.subject), "{name}");
            for scope in issuer.scopes {
                assert!(claims.has_scope(scope), "{name}: {scope}");
            }
            assert!(!claims.has_scope("admin"), "{name}");
            let (field, value) = &issuer.custom;
            assert_eq!(claims.custom().get(*field), Some(value), "{name}: {field}");
        }
        for (what, difference, expected) in &issuer.refused {
            let token = issuer.token(&issuer.header, &merged(&issuer.claims, difference));
            let error = verifier.verify(&token).map(drop).expect_err(name);
            assert_eq!(error.kind(), *expected, "{name}: {what}");
        }
        let expired = issuer.token(&issuer.header, &merged(&issuer.claims, &json!({ "exp": 1_700_000_900 })));
        assert_eq!(
            verifier.verify(&expired).map(drop).expect_err(name).kind(),
            TokenErrorKind::Expired,
            "{name}"
        );
        let stranger = issuer.token(&merged(&issuer.header, &json!({ "kid": "stranger" })), &issuer.claims);
        assert_eq!(
            verifier.verify(&stranger).map(drop).expect_err(name).kind(),
            TokenErrorKind::UnknownKey,
            "{name}"
        );
    }
}
