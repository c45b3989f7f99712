use proptest::prelude::*;

use super::*;

/// A line of `[Service]`, masked.
fn masked(line: &str) -> String {
    let text = mask(&format!("[Service]\n{line}\n"));
    text.strip_prefix("[Service]\n")
        .and_then(|text| text.strip_suffix('\n'))
        .unwrap()
        .to_owned()
}

#[track_caller]
fn assert_masked(cases: &[(&str, &str)]) {
    for (line, expected) in cases {
        assert_eq!(masked(line), *expected, "{line}");
    }
}

#[test]
fn variables_are_masked_by_their_names() {
    assert_masked(&[
        ("Environment=DB_PASSWORD=hunter2", "Environment=DB_PASSWORD=********"),
        ("Environment=db_passwd=hunter2", "Environment=db_passwd=********"),
        ("Environment=MYSQL_PWD=hunter2", "Environment=MYSQL_PWD=********"),
        (
            "Environment=AWS_SECRET_ACCESS_KEY=a/b+c=",
            "Environment=AWS_SECRET_ACCESS_KEY=********",
        ),
        (
            "Environment=GITHUB_TOKEN=t PORT=80",
            "Environment=GITHUB_TOKEN=******** PORT=80",
        ),
        (
            "Environment=\"API_KEY=a b c\" PORT=80",
            "Environment=\"API_KEY=********\" PORT=80",
        ),
        (
            "Environment='API_KEY=a \"b\" c' PORT=80",
            "Environment='API_KEY=********' PORT=80",
        ),
        ("Environment=API_KEY=\"a b\" PORT=80", "Environment=API_KEY=******** PORT=80"),
        ("Environment=API_KEY=a\"b c\"d PORT=80", "Environment=API_KEY=******** PORT=80"),
        (
            r#"Environment="API_KEY=a\"b c" PORT=80"#,
            r#"Environment="API_KEY=********" PORT=80"#,
        ),
        (r"Environment=API_KEY=a\ b PORT=80", r"Environment=API_KEY=******** PORT=80"),
        (
            "Environment=\"PORT=80\" \"TOKEN=a\" X=1",
            "Environment=\"PORT=80\" \"TOKEN=********\" X=1",
        ),
        ("Environment=TOKEN=", "Environment=TOKEN="),
        ("Environment=PORT=80 HOME=/root", "Environment=PORT=80 HOME=/root"),
    ]);
}

#[test]
fn arguments_of_commands_are_masked() {
    assert_masked(&[
        (
            "ExecStart=/usr/bin/docker run -e DB_PASSWORD=hunter2 -p 80:80 web",
            "ExecStart=/usr/bin/docker run -e DB_PASSWORD=******** -p 80:80 web",
        ),
        (
            "ExecStart=/bin/web --password=hunter2 -v",
            "ExecStart=/bin/web --password=******** -v",
        ),
        (
            "ExecStart=/bin/web --auth-token hunter2 -v",
            "ExecStart=/bin/web --auth-token ******** -v",
        ),
        (
            "ExecStart=/bin/web --api-key 'a b' -v",
            "ExecStart=/bin/web --api-key ******** -v",
        ),
        (
            r#"ExecStart=/usr/bin/curl -H "X-Auth-Token: a b" http://x/"#,
            r#"ExecStart=/usr/bin/curl -H "X-Auth-Token: ********" http://x/"#,
        ),
        (
            "ExecStart=/usr/bin/curl -H 'Authorization: Bearer a.b' http://x/",
            "ExecStart=/usr/bin/curl -H 'Authorization: ********' http://x/",
        ),
        ("ExecStart=/bin/web Bearer a.b c", "ExecStart=/bin/web Bearer ******** c"),
        ("# Authorization: Basic a.b c", "# Authorization: ******** ******** c"),
        ("Description=Basic web server", "Description=Basic web server"),
        (
            "ExecStart=/bin/web \"--password\" \"a b\" -v",
            "ExecStart=/bin/web \"--password\" ******** -v",
        ),
        (
            "ExecStart=/usr/bin/curl -u \"me:a b\" x",
            "ExecStart=/usr/bin/curl -u \"me:********\" x",
        ),
        (
            "ExecStart=/usr/bin/curl -u me:hunter2 x",
            "ExecStart=/usr/bin/curl -u me:******** x",
        ),
        (
            "ExecStart=/usr/bin/curl --user=me:p x",
            "ExecStart=/usr/bin/curl --user=me:******** x",
        ),
        ("ExecStart=/bin/web --user core x", "ExecStart=/bin/web --user core x"),
        (
            r#"ExecStart=/bin/sh -c "export PASSWORD='a b'; exec web""#,
            r#"ExecStart=/bin/sh -c "export PASSWORD=********""#,
        ),
        (
            r#"ExecStart=/bin/web '{"user":"me","password":"a b"}' -v"#,
            r#"ExecStart=/bin/web '{"user":"me","password":********' -v"#,
        ),
        (
            r#"ExecStart=/bin/web "{\"password\":\"a b\"}" -v"#,
            r#"ExecStart=/bin/web "{\"password\":********" -v"#,
        ),
        (
            "ExecStart=/bin/web \"password = a b\"",
            "ExecStart=/bin/web \"password = ********\"",
        ),
        ("ExecStart=/bin/web ?token=a&b=c", "ExecStart=/bin/web ?token=********"),
        (
            "ExecStart=/usr/bin/docker run quay.io/team/token-service:1.2 $TOKEN ${TOKEN}",
            "ExecStart=/usr/bin/docker run quay.io/team/token-service:1.2 $TOKEN ${TOKEN}",
        ),
    ]);
}

#[test]
fn passwords_in_urls_are_masked() {
    assert_masked(&[
        (
            "Environment=DB=postgres://me:p@db/x",
            "Environment=DB=postgres://me:********@db/x",
        ),
        (
            "Environment=DB=postgres://me:a/b?@c@db/x",
            "Environment=DB=postgres://me:********@db/x",
        ),
        (
            "ExecStart=/bin/git clone https://t0k3n@host/x y",
            "ExecStart=/bin/git clone https://********@host/x y",
        ),
        (
            "ExecStart=/bin/web 'http://a:b@c/?key=d' e",
            "ExecStart=/bin/web 'http://a:********@c/?key=********' e",
        ),
        ("ExecStart=/bin/web http://a:80/b", "ExecStart=/bin/web http://a:80/b"),
    ]);
}

#[test]
fn options_of_systemd_are_masked_if_their_value_is_secret() {
    assert_masked(&[
        ("SetCredential=db:hunter2", "SetCredential=db:********"),
        ("SetCredential=hunter2", "SetCredential=********"),
        ("SetCredentialEncrypted=db: abc", "SetCredentialEncrypted=db: ********"),
        ("LoadCredential=db:/etc/db", "LoadCredential=db:/etc/db"),
        ("PassEnvironment=TOKEN HOME", "PassEnvironment=TOKEN HOME"),
        ("KeyringMode=private", "KeyringMode=private"),
        ("EnvironmentFile=/etc/secrets.env", "EnvironmentFile=/etc/secrets.env"),
        ("X-Password=a b c", "X-Password=********"),
        ("# the old TOKEN=abc", "# the old TOKEN=********"),
    ]);
}

#[test]
fn a_secret_on_several_lines_is_masked_on_each() {
    assert_masked(&[
        (
            "Environment=\"PASSWORD=a \\\n  b \\\n  c\" \\\n  PORT=80",
            "Environment=\"PASSWORD=******** \\\n  ******** \\\n  ********\" \\\n  PORT=80",
        ),
        (
            "Environment=PORT=80 \\\n  TOKEN=a \\\n  HOME=/",
            "Environment=PORT=80 \\\n  TOKEN=******** \\\n  HOME=/",
        ),
        (
            "ExecStart=/bin/web --password \\\n  hunter2 \\\n  -v",
            "ExecStart=/bin/web --password \\\n  ******** \\\n  -v",
        ),
        ("X-Token=a\\\n\\\n b", "X-Token=******** \\\n \\\n ********"),
    ]);
}

#[test]
fn the_section_of_fleet_is_left_as_it_is() {
    let text = "[X-Fleet]\nMachineMetadata=token=a\n# x \\\n[Service]\nEnvironment=TOKEN=a\n";
    let expected =
        "[X-Fleet]\nMachineMetadata=token=a\n# x \\\n[Service]\nEnvironment=TOKEN=********\n";
    assert_eq!(mask(text), expected);

    // This is no section, but the rest of a value.
    let text = "[Service]\nExecStart=/bin/a \\\n[X-Fleet]\nEnvironment=TOKEN=a";
    assert!(!mask(text).contains("TOKEN=a"), "{}", mask(text));
}

proptest! {
    #[test]
    fn any_text_keeps_its_lines(text in r#"([a-zA-Z=:@'"\\ \n\[\]]|TOKEN|://|ä|\t|\r){0,60}"#) {
        let lines = |text: &str| text.split('\n').count();
        prop_assert_eq!(lines(&mask(&text)), lines(&text));
    }

    #[test]
    fn a_secret_value_never_shows(
        before in r#"[a-zA-Z=' \\"]{0,20}"#,
        quote in prop_oneof![Just(""), Just("\""), Just("'")],
    ) {
        let assignment = format!("{quote}MY_TOKEN=s3cr3t{quote}");
        let text = format!("[Service]\nEnvironment={before} {assignment} PORT=80\n");
        prop_assert!(!mask(&text).contains("s3cr3t"), "{}", text);
    }
}
