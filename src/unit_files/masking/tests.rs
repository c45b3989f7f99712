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

#[test]
fn a_line_continues_after_blanks_a_carriage_return_and_comments() {
    assert_masked(&[
        (
            "ExecStart=/bin/app --password \\ \n  hunter2",
            "ExecStart=/bin/app --password \\ \n  ********",
        ),
        (
            "ExecStart=/bin/app --password \\\r\n  hunter2\r\nUser=core",
            "ExecStart=/bin/app --password \\\r\n  ********\r\nUser=core",
        ),
        (
            "ExecStart=/bin/app --password \\\n# comment\n ; TOKEN=a\n  hunter2 \\\n  -v",
            "ExecStart=/bin/app --password \\\n# comment\n ; TOKEN=********\n  ******** \\\n  -v",
        ),
        (
            "ExecStart=/bin/app --password \\\\\n  hunter2",
            "ExecStart=/bin/app --password \\\\\n  ********",
        ),
        ("X-Token=a \\\t\n  b", "X-Token=******** \\\n  ********"),
        (
            "ExecStart=/bin/curl -u \\ \n  bob:p x",
            "ExecStart=/bin/curl -u \\ \n  bob:******** x",
        ),
    ]);
}

#[test]
fn a_line_that_may_continue_or_not_hides_no_secret_of_the_next_one() {
    for between in ["a \\ ", "a \\\\", "a \\\r", "a \\\n# comment"] {
        let text = format!("[X-Fleet]\nX={between}\n[Service]\nSetCredential=a:b hunter2\n");
        assert!(!mask(&text).contains("hunter2"), "{}", mask(&text));

        let text = format!("[Service]\nX={between}\nX-Password=a hunter2\n");
        assert!(!mask(&text).contains("hunter2"), "{}", mask(&text));
    }
}

#[test]
fn users_and_their_passwords_are_found_in_all_forms_of_curl() {
    assert_masked(&[
        ("ExecStart=/bin/curl -ubob:hunter2 x", "ExecStart=/bin/curl -ubob:******** x"),
        ("ExecStart=/bin/curl -Ubob@x.y:p x", "ExecStart=/bin/curl -Ubob@x.y:******** x"),
        (
            r#"ExecStart=/bin/curl "-u" "bob:hunter2" x"#,
            r#"ExecStart=/bin/curl "-u" "bob:********" x"#,
        ),
        ("ExecStart=/bin/curl -u'bob:a b' x", "ExecStart=/bin/curl -u'bob:********' x"),
        (
            "ExecStart=/bin/curl -u 'bob b:p' x",
            "ExecStart=/bin/curl -u 'bob b:********' x",
        ),
        (
            "ExecStart=/bin/curl -u \"bob\":'p q' x",
            "ExecStart=/bin/curl -u \"bob\":********' x",
        ),
        (
            "ExecStart=/bin/curl --proxy-user bob:pw -U bob:pw x",
            "ExecStart=/bin/curl --proxy-user bob:******** -U bob:******** x",
        ),
        (
            "ExecStart=/bin/curl --proxy-user=bob:pw x",
            "ExecStart=/bin/curl --proxy-user=bob:******** x",
        ),
        (
            r#"ExecStart=/bin/sh -c "curl -u \"bob:p q\" x""#,
            r#"ExecStart=/bin/sh -c "curl -u \"bob:********""#,
        ),
        ("ExecStart=/bin/curl -utoken:p x", "ExecStart=/bin/curl -utoken:******** x"),
        (
            "ExecStart=/bin/proxy -upstream=http://a:80/ -u bob http://a:80/",
            "ExecStart=/bin/proxy -upstream=http://a:80/ -u bob http://a:80/",
        ),
    ]);
}

#[test]
fn a_short_option_for_a_password_is_masked_after_commands_that_have_it() {
    assert_masked(&[
        (
            "ExecStart=/bin/docker login -u bob -p hunter2 quay.io",
            "ExecStart=/bin/docker login -u bob -p ******** quay.io",
        ),
        ("ExecStart=/bin/mysql -phunter2 db", "ExecStart=/bin/mysql -p******** db"),
        ("ExecStart=/bin/mysql -p'a b' db", "ExecStart=/bin/mysql -p******** db"),
        ("ExecStart=/bin/mysql -phunter2#%/x db", "ExecStart=/bin/mysql -p******** db"),
        ("ExecStart=/bin/mysqldump -pMyPass1", "ExecStart=/bin/mysqldump -p********"),
        (
            "ExecStart=/bin/mariadb \"-p\" 'a' b",
            "ExecStart=/bin/mariadb \"-p\" ******** b",
        ),
        ("ExecStart=/bin/psql -p hunter2 db", "ExecStart=/bin/psql -p ******** db"),
        (
            "ExecStart=/bin/sshpass -p hunter2 ssh x",
            "ExecStart=/bin/sshpass -p ******** ssh x",
        ),
        ("ExecStart=/bin/mysqld -password a", "ExecStart=/bin/mysqld -p******** ********"),
        (
            "ExecStart=/bin/docker run --name mysql -p 3306:3306 -p ${IP}:1:1/udp -p1.2.3.4:5:6 m",
            "ExecStart=/bin/docker run --name mysql -p 3306:3306 -p ${IP}:1:1/udp -p1.2.3.4:5:6 m",
        ),
        (
            "ExecStart=/bin/docker run mysql mysql -phunter2 -p ${X}y:1 -p 12345",
            "ExecStart=/bin/docker run mysql mysql -p******** -p ******** -p ********",
        ),
        ("ExecStart=/bin/web -p 80 -page 2", "ExecStart=/bin/web -p 80 -page 2"),
    ]);
}

/// docs/security.md names these.
#[test]
fn what_is_documented_as_not_found_is_shown() {
    for value in [
        "DSN=hunter2",
        "/bin/app hunter2",
        "/bin/redis-cli -a hunter2",
        "/bin/ldapsearch -w hunter2",
        "/bin/curl -su bob:hunter2",
    ] {
        assert_eq!(masked(&format!("ExecStart={value}")), format!("ExecStart={value}"));
    }
}

/// How many characters are looked at to mask a text.
fn looked_at(text: &str) -> usize {
    LOOKED_AT.set(0);
    mask(text);
    LOOKED_AT.get()
}

#[test]
fn the_time_grows_with_the_length_of_the_text_only() {
    let starts = ["/x ", "/x \"", "/x '", "/mysql run ", "/mysql run \"", "/x \"'"];
    let parts = [
        "-u ",
        "-u\\\n",
        "-u \\ \n",
        "-u\"",
        "-u '",
        "-u\\\"",
        "-u@",
        "-u=",
        "-ua=:",
        "-ua",
        "-u-",
        "-u\"'",
        "-u:",
        "-u ':",
        "-u \\':",
        "://",
        "://@",
        "://a:",
        ":",
        "@",
        "\\",
        "\\\n",
        "\\ \n",
        "\"",
        "'",
        "-p",
        "-p ",
        "-p\"",
        "-p1:1 ",
        "-p ${",
        "-p${:",
        "/-p",
        "TOKEN",
        "TOKEN ",
        "TOKEN]",
        "TOKEN=",
        "TOKEN= ",
        "--TOKEN ",
        "Bearer ",
        "Bearer",
        "\"Bearer",
        "\n#",
        "\\\n# -u\n",
        " ",
        "a ",
        "-u \"a\":",
        "\"-u\" ",
    ];
    let ends = ["", ":", "@", "\"", "'", " :80", "=:", "\" ':"];

    for start in starts {
        for part in parts {
            for end in ends {
                let text = |length: usize| {
                    let parts = part.repeat(length / part.len());
                    format!("[Service]\nExecStart={start}{parts}{end}\n")
                };
                let short = text(1 << 10);
                let count = looked_at(&short);
                assert!(count <= 20 * short.len(), "{count} steps: {start:?} {part:?} {end:?}");
            }
        }
    }

    // As large as a file can be.
    for part in ["-u ", "-u\\\n  ", "-u\"", "://", "-u \\\n#\n", "-p ${", "\\"] {
        for start in ["/x \"", "/x ", "/mysql run "] {
            let text = format!("ExecStart={start}{}:\n", part.repeat((64 << 10) / part.len()));
            let count = looked_at(&text);
            assert!(count <= 20 * text.len(), "{count} steps: {start:?} {part:?}");
        }
    }
}

proptest! {
    #[test]
    fn any_text_takes_few_steps(
        parts in proptest::collection::vec(
            prop_oneof![
                Just("-u"), Just(" "), Just("\""), Just("'"), Just(":"), Just("://"), Just("@"),
                Just("\\"), Just("="), Just("-p"), Just("mysql "), Just("TOKEN"), Just("${"),
                Just("\\\n"), Just("\\ \n"), Just("Bearer"), Just("a")
            ],
            1..4,
        ),
        more in proptest::collection::vec(
            prop_oneof![Just("\""), Just("'"), Just(":"), Just("@"), Just("-u"), Just(" ")],
            0..4,
        ),
    ) {
        let text = format!("X={}{}", parts.concat().repeat(200), more.concat());
        let count = looked_at(&text);
        prop_assert!(count <= 20 * text.len(), "{} steps for {}", count, text.len());
    }
}

proptest! {
    #[test]
    fn any_text_keeps_its_lines(
        text in r#"([a-zA-Z=:@'"\\ \n\[\]]|TOKEN|://|-u|-p|mysql|#|ä|\t|\r){0,60}"#,
    ) {
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
