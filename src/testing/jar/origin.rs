use std::net::Ipv4Addr;

use http::Uri;

/// Scheme, host and port, normalised as browsers do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::testing) struct Origin {
    scheme: String,
    host: String,
    authority: String,
}

impl Origin {
    pub(in crate::testing) fn parse(text: &str) -> Option<Self> {
        let uri: Uri = text.parse().ok()?;
        let (scheme, authority) = (uri.scheme_str()?, uri.authority()?);
        let default_port = match scheme {
            "https" => 443,
            "http" => 80,
            _ => return None,
        };
        if uri.path_and_query().is_some_and(|path| path != "/") || authority.as_str().contains('@') {
            return None;
        }
        let host = authority.host().to_ascii_lowercase();
        let authority = match authority.port_u16().filter(|port| *port != default_port) {
            Some(port) => format!("{host}:{port}"),
            None => host.clone(),
        };
        Some(Self { scheme: scheme.to_owned(), host, authority })
    }

    pub(in crate::testing) fn scheme(&self) -> &str {
        &self.scheme
    }

    pub(super) fn host(&self) -> &str {
        &self.host
    }

    /// Host and port, without a port that is the default.
    pub(in crate::testing) fn authority(&self) -> &str {
        &self.authority
    }

    /// As the `Origin` header has it.
    pub(in crate::testing) fn text(&self) -> String {
        format!("{}://{}", self.scheme, self.authority)
    }

    /// Whether `Secure` cookies and `Sec-Fetch-*` are sent there: https, and this very machine.
    pub(in crate::testing) fn is_trustworthy(&self) -> bool {
        self.scheme == "https"
            || self.host == "localhost"
            || self.host.ends_with(".localhost")
            || self.host == "[::1]"
            || self.host.parse().is_ok_and(|ip: Ipv4Addr| ip.is_loopback())
    }

    /// `evil.shop.example` for `https://www.shop.example`: a host on the same site, under other control.
    pub(in crate::testing) fn neighbour(&self) -> Option<Self> {
        if is_ip(&self.host) {
            return None;
        }
        let second_dot = self.host.rmatch_indices('.').nth(1).map_or(0, |(dot, _)| dot + 1);
        let host = format!("evil.{}", &self.host[second_dot..]);
        Some(Self { scheme: self.scheme.clone(), authority: host.clone(), host })
    }
}

pub(super) fn is_ip(host: &str) -> bool {
    host.starts_with('[') || host.parse::<Ipv4Addr>().is_ok()
}
