use super::*;

#[tokio::test]
async fn a_307_to_the_same_url_is_followed_with_method_and_body() {
    let paid = Arc::new(Mutex::new(Vec::new()));
    let log = paid.clone();
    let service = service_fn(move |request: Request<String>| {
        let log = log.clone();
        async move {
            let (parts, body) = request.into_parts();
            let xsrf = parts.headers.get("x-xsrf-token").map(|value| value.to_str().unwrap().to_owned());
            let mut log = log.lock().unwrap();
            log.push((parts.method, parts.uri.to_string(), body, xsrf));
            let location = match parts.uri.path() {
                "/a/pay" => "./pay?to=bob",
                "/pay" => "/pay",
                _ => "/elsewhere",
            };
            let status = if log.len() % 2 == 1 { 307 } else { 200 };
            Ok::<_, Infallible>(answer(status, &[("location", location.to_owned())], ""))
        }
    });
    let browser = Browser::new(service).with_device_key();
    browser.set_cookie("XSRF-TOKEN=t; Secure; Path=/");
    for (path, status) in [("/a/pay?to=bob", 200), ("/pay", 200), ("/other", 307)] {
        let request = browser.post(path).with_xsrf().body("amount=1");
        assert_eq!(request.send().await.unwrap().status(), status, "{path}");
    }
    let paid = paid.lock().unwrap();
    assert_eq!(paid.len(), 5);
    assert!(paid.iter().all(|(method, _, body, xsrf)| {
        (method, &**body, xsrf.as_deref()) == (&Method::POST, "amount=1", Some("t"))
    }));
}
