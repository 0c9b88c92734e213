//! What Chromium 156 sent to a server that offered `ES256`, and to one that offered `RS256`.

use http::{HeaderMap, HeaderValue};

use super::super::{
    headers::{RESPONSE, response},
    proof::{Algorithms, refresh, registration},
};
use crate::keys::Algorithm;

const REGISTRATION: &str = "eyJhbGciOiJFUzI1NiIsImp3ayI6eyJjcnYiOiJQLTI1NiIsImt0eSI6IkVDIiwieCI6InBPU3llR0Y1VlFub3ZKX2JETGI4dW\
    96dkVFTWU5MERWc1ZCbTdjTnFCYXMiLCJ5IjoiSWNwMzRsV0N3QW9PN1Z2VHozZzljaEM2X29RMDlvSU1nVF9rWUpuS25YZyJ9\
    LCJ0eXAiOiJkYnNjK2p3dCJ9.eyJqdGkiOiJjaGFsbGVuZ2UtMSJ9.OShf2Wk8nrJLfuFl3WNikhYFiQ8vaxsJO8PEqbzNXDZk\
    JfI9B6uSssUWjyBq80sZRQ1p5GDbyuCG1sycQ7zfIA";
const PROOF: &str = "eyJhbGciOiJFUzI1NiIsInR5cCI6ImRic2Mrand0In0.eyJqdGkiOiJjaGFsbGVuZ2UtMiJ9.-\
    4bjPp1Ny6UNOuIul4VA79nh9G4_lz8-CEXD8q_GThg-YxhGZ8ycp1fQ9W9aegCy3dPR_0GCi7SYLe-EGQ8jrg";
const REGISTRATION_RS256: &str = "eyJhbGciOiJSUzI1NiIsImp3ayI6eyJlIjoiQVFBQiIsImt0eSI6IlJTQSIsIm4iOiJzcTdZZUxXWVk4ZTB6Ukp6aUVRYUFYQ0\
    Z4ZGxvZngxZkJyYVFlbU9aM3BpT0RTTFZQNXNtWmZ3XzRiaHVJZUREM1FDcVVVdHBHR0JxVm5LbThZZXo5Wk5BTXBXa3dyMTNL\
    cWlaaUJ3QmNSQjNyMnpBWGxQMEhoMVlXT2ZWc1dkNGFXRjA1OHpFMEI4Wno1VjRSdkxSM3FLcEswT2hJbTBvQndWNm9nbmF1d2\
    9kXy00cHdGcy1ITFdWWjJLOTViVUJod19PRHdrM2hPbW5JLUE3UnByOWFIVndSbURjYWs0ZWJYN0djNGtralVxazUwN2pBRnot\
    a1FuWUQwaVVUTGI4bm8tMFJEaExGY29YMk9KU0kya0NyWG9tT0tzc2FaUlhTUnpQSlZvWHNIdXVyS1lZQThxbGl5Y05qeXNMaX\
    RnbGNVdDF5bXItdHp6MkY0bTZOaHBYc1EifSwidHlwIjoiZGJzYytqd3QifQ.eyJqdGkiOiJjaGFsbGVuZ2UtMSJ9.VJ0ENCR-\
    Gfm5593z3s6p6mutJ0hj2jzKlgT57RDJ-\
    780qTQrrESeUXIzajNEqjL7a0ZwrVbUPm1U9flHQ1gij05yaXffSsG6b_4FcxzDqXuvsc-\
    oIUdDTezaK8XhENyh8iJm79_S2kDAwAKFGab-6BcneceX72vtcO_YKIPd7L2BomjZWeDE8TGxNcj4LtQ-DVpZMuezCq3rf8jtW\
    2MBsG_ZGAPvAS0zIhogWbpz7y74sjLvgX86-\
    VW3Aw8ivhinMEE4b6XjY2Cwuf1ndLJyDymfWp3_bwaGk2SLG6SFFePYB1GEkz9KKZHswT1RaWvk5JIOSbAFjiYafI7twqMPTg";

/// Chromium sends the value bare; the draft puts it in quotes.
fn sent(value: &str) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(RESPONSE, HeaderValue::try_from(value).expect("a value"));
    headers
}

#[test]
fn registration_and_proof_of_a_browser_are_accepted() {
    for value in [REGISTRATION.to_owned(), format!("\"{REGISTRATION}\"")] {
        let headers = sent(&value);
        let jwt = response(&headers).expect("it is well-formed").expect("it is there");
        let read = registration(jwt, Algorithms::Es256).expect("it is good");
        assert_eq!((read.key.algorithm(), &*read.challenge), (Algorithm::ES256, "challenge-1"));
        assert_eq!(refresh(PROOF, &read.key), Ok("challenge-2".into()));
    }
    let read = registration(REGISTRATION_RS256, Algorithms::Es256AndRs256).expect("it is good");
    assert_eq!((read.key.algorithm(), &*read.challenge), (Algorithm::RS256, "challenge-1"));
    assert!(refresh(PROOF, &read.key).is_err());
}
