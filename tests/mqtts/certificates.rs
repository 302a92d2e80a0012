//! Whose certificate is taken, and how this box's is renewed.

use std::sync::Arc;

use linli::ca::{self, Authority, FOLDER};
use linli::clock::Clock;
use linli::links::embedded::TlsListener;
use rustls::pki_types::CertificateDer;
use rustls::version::{TLS12, TLS13};

use crate::bed::*;
use crate::embedded::*;

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_stands_for_the_password() {
    let bed = Bed::start("").await;
    let paper = bed.paper("door-1");
    for version in [Version::V3, Version::V5] {
        let client = bed.login(Some(&paper), &bare(version, "door-1")).await;
        drop(client.unwrap());
    }
    // It is nobody else's, not even with that one's password.
    let other = bed.login(Some(&paper), &bare(Version::V5, "bank-a")).await;
    assert_eq!(other.unwrap_err(), Failed::Connack(0x87));
    let other = bed
        .login(Some(&paper), &Connect::new(Version::V5, "bank-a"))
        .await;
    assert_eq!(other.unwrap_err(), Failed::Connack(0x87));
    let other = bed.login(Some(&paper), &bare(Version::V3, "bank-a")).await;
    assert_eq!(other.unwrap_err(), Failed::Connack(5));
    // A password that is given as well must be right.
    let both = bed
        .login(Some(&paper), &Connect::new(Version::V5, "door-1"))
        .await;
    drop(both.unwrap());
    let mut wrong = Connect::new(Version::V5, "door-1");
    wrong.password = Some(b"wrong".to_vec());
    let wrong = bed.login(Some(&paper), &wrong).await;
    assert_eq!(wrong.unwrap_err(), Failed::Connack(0x86));
    // A user name alone must be its own, too.
    let mut named = bare(Version::V5, "door-1");
    named.username = Some(b"bank-a".to_vec());
    let named = bed.login(Some(&paper), &named).await;
    assert_eq!(named.unwrap_err(), Failed::Connack(0x86));
    // Whoever isn't in the configuration isn't let in by any certificate.
    let stranger = bed.paper("door-99");
    let stranger = bed
        .login(Some(&stranger), &bare(Version::V5, "door-99"))
        .await;
    assert_eq!(stranger.unwrap_err(), Failed::Connack(0x86));
    bed.broker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn expired_foreign_and_unfit_certificates_are_refused_by_name() {
    let bed = Bed::start("client_certificates = \"required\"").await;
    let elsewhere = Bed::start("").await;
    let old = bed.paper_for("door-1", 1);
    let foreign = elsewhere.paper("door-1");
    bed.clock.advance(u32::try_from(2 * DAY_MS).unwrap());
    // Made by itself, with the name of our authority.
    let own = self_made(&bed.authority());
    let server = {
        // Of our authority, but for a server.
        let pair = ca::Pair::open(&bed.folder()).unwrap().unwrap();
        Paper {
            certificate: pair.chain[0].clone(),
            key: pair.key.secret_der().to_vec(),
            serial: String::new(),
        }
    };
    for (paper, said) in [
        (Some(&old), "CertificateExpired"),
        (Some(&foreign), "UnknownCA"),
        (Some(&own), "DecryptError"),
        (Some(&server), "UnsupportedCertificate"),
        (None, "CertificateRequired"),
    ] {
        for tls in [&TLS12, &TLS13] {
            let config = config(&bed.authority(), paper, &[tls]);
            let login = Tls::login(bed.address(), config, &bare(Version::V5, "door-1")).await;
            let error = format!("{:?}", login.unwrap_err());
            let old_word = said == "CertificateRequired" && error.contains("HandshakeFailure");
            assert!(error.contains(said) || old_word, "{said}: {error}");
        }
    }
    // Who has the right one comes in all the while.
    let good = bed.paper("door-1");
    let mut client = bed
        .login(Some(&good), &bare(Version::V5, "door-1"))
        .await
        .unwrap();
    client.is_served("door-1").await;
    bed.broker.stop().await;
}

/// A certificate for `door-1` that says it were of this authority.
fn self_made(authority: &Authority) -> Paper {
    let issuer_key = rcgen::KeyPair::generate().unwrap();
    let mut issuer = rcgen::CertificateParams::new(Vec::new()).unwrap();
    issuer.distinguished_name = rcgen::DistinguishedName::new();
    let name = authority.facts().subject.as_str();
    issuer
        .distinguished_name
        .push(rcgen::DnType::CommonName, name);
    let issuer = rcgen::Issuer::new(issuer, issuer_key);
    let key = rcgen::KeyPair::generate().unwrap();
    let mut params = rcgen::CertificateParams::new(Vec::new()).unwrap();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params
        .distinguished_name
        .push(rcgen::DnType::CommonName, "door-1");
    Paper {
        certificate: params.signed_by(&key, &issuer).unwrap().der().clone(),
        key: key.serialize_der(),
        serial: String::new(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_revoked_is_cut_off_and_cannot_be_resumed() {
    let bed = Bed::start("").await;
    let lost = bed.paper("door-1");
    let kept = bed.paper("bank-a");
    let config = bed.client(Some(&lost));
    let door = bare(Version::V5, "door-1");
    let mut there = Tls::login(bed.address(), Arc::clone(&config), &door)
        .await
        .unwrap();
    there.is_served("door-1").await;
    let mut other = bed
        .login(Some(&kept), &bare(Version::V5, "bank-a"))
        .await
        .unwrap();
    other.is_served("bank-a").await;

    let folder = bed.folder();
    assert_eq!(ca::revoke(&folder, &ident("door-1"), NOW_MS).unwrap(), 1);
    bed.listener.reload(&section("")).unwrap();
    assert!(
        there.packet().await.is_err(),
        "the connection that is up ends"
    );
    // With its ticket there is no second look by TLS: the login has one.
    let again = Tls::login(bed.address(), config, &door).await;
    assert_eq!(again.unwrap_err(), Failed::Connack(0x87));
    // Without one the handshake ends.
    let again = bed.login(Some(&lost), &door).await.unwrap_err();
    assert!(
        format!("{again:?}").contains("CertificateRevoked"),
        "{again:?}"
    );
    // Nobody else notices, and a new certificate is as good as the first.
    other.is_served("bank-a").await;
    let new = bed.paper("door-1");
    assert_ne!(new.serial, lost.serial);
    drop(bed.login(Some(&new), &door).await.unwrap());
    bed.broker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_renewed_certificate_ends_no_connection() {
    let bed = Bed::start("names = [\"127.0.0.1\"]").await;
    let connect = Connect::new(Version::V5, "door-1");
    let mut there = bed.login(None, &connect).await.unwrap();
    there.is_served("door-1").await;
    let first = shown(&there);
    assert_eq!(
        bed.listener.facts().not_after_ms,
        second(NOW_MS + 365 * DAY_MS)
    );

    // With more than a third of its time left it stays.
    bed.clock.advance(u32::try_from(40 * DAY_MS).unwrap());
    bed.listener
        .reload(&section("names = [\"127.0.0.1\"]"))
        .unwrap();
    assert_eq!(
        bed.listener.facts().not_after_ms,
        second(NOW_MS + 365 * DAY_MS)
    );
    for _ in 0..5 {
        bed.clock.advance(u32::try_from(41 * DAY_MS).unwrap());
    }
    bed.listener
        .reload(&section("names = [\"127.0.0.1\"]"))
        .unwrap();
    let after_ms = bed.listener.facts().not_after_ms;
    assert_eq!(after_ms, second(NOW_MS + (40 + 205 + 365) * DAY_MS));
    let bank = Connect::new(Version::V5, "bank-a");
    let new = bed.login(None, &bank).await.unwrap();
    assert_ne!(shown(&new), first);
    there.is_served("door-1").await;

    // Other names: another certificate, and still nobody is sent away.
    bed.listener
        .reload(&section("names = [\"127.0.0.1\", \"box-7.local\"]"))
        .unwrap();
    let named = bed.login(None, &bank).await.unwrap();
    assert_eq!(bed.listener.facts().names, ["127.0.0.1", "box-7.local"]);
    assert_ne!(shown(&named), shown(&new));
    there.is_served("door-1").await;
    bed.broker.stop().await;
}

fn shown(client: &Tls) -> CertificateDer<'static> {
    let certificates = client.stream.get_ref().1.peer_certificates().unwrap();
    certificates[0].clone().into_owned()
}

/// Certificates know whole seconds.
fn second(ms: i64) -> i64 {
    ms / 1000 * 1000
}

#[tokio::test(flavor = "multi_thread")]
async fn another_policy_holds_for_the_next_login() {
    let bed = Bed::start("").await;
    let config = bed.client(None);
    let connect = Connect::new(Version::V5, "door-1");
    let mut there = Tls::login(bed.address(), Arc::clone(&config), &connect)
        .await
        .unwrap();
    there.is_served("door-1").await;
    bed.listener
        .reload(&section("client_certificates = \"required\""))
        .unwrap();
    there.is_served("door-1").await;
    // Its ticket from before is no way round it.
    let again = Tls::login(bed.address(), config, &connect)
        .await
        .unwrap_err();
    assert!(
        format!("{again:?}").contains("CertificateRequired"),
        "{again:?}"
    );
    let paper = bed.paper("door-1");
    drop(bed.login(Some(&paper), &connect).await.unwrap());
    bed.listener
        .reload(&section("client_certificates = \"off\""))
        .unwrap();
    let ignored = bed.login(Some(&paper), &bare(Version::V5, "door-1")).await;
    assert_eq!(ignored.unwrap_err(), Failed::Connack(0x86));
    // A section that can't be taken changes nothing.
    let bad = section("certificate_file = \"/nowhere.pem\"\nkey_file = \"/nowhere.key\"");
    let error = bed.listener.reload(&bad).unwrap_err().to_string();
    assert!(error.contains("/nowhere.pem"), "{error}");
    drop(bed.login(None, &connect).await.unwrap());
    bed.broker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_box_without_the_time_starts_and_renews_when_it_has_it() {
    let clock = Clock::by_hand(0);
    let bed = Bed::with("", clock, |_| {}).await;
    let paper = bed.paper("door-1");
    // The clients here have the time, which is before the end of what was made.
    let mut client = bed
        .login(Some(&paper), &bare(Version::V5, "door-1"))
        .await
        .unwrap();
    client.is_served("door-1").await;
    let made = bed.listener.facts();
    let past_ms = bed.clock.at_least_ms();
    assert_eq!(
        made.not_before_ms, 0,
        "a device without a clock starts there"
    );
    assert_eq!(made.not_after_ms, second(past_ms + 365 * DAY_MS));
    assert_eq!(bed.authority().facts().not_before_ms, 0);
    // The cloud says the time, most of a year later: at the next look it is renewed.
    assert!(bed.clock.cloud_says(past_ms + 300 * DAY_MS));
    bed.listener.reload(&section("")).unwrap();
    let renewed = bed.listener.facts();
    assert_eq!(renewed.not_after_ms, second(past_ms + 665 * DAY_MS));
    client.is_served("door-1").await;
    bed.broker.stop().await;
}

#[test]
fn a_clock_that_was_wrong_by_decades_leaves_no_trace() {
    let dir = tempfile::tempdir().unwrap();
    let late = Clock::by_hand(NOW_MS + 50 * 365 * DAY_MS);
    let listener = TlsListener::open(&section(""), house(&dir, &late)).unwrap();
    assert!(listener.facts().not_after_ms > NOW_MS + 50 * 365 * DAY_MS);
    drop(listener);
    let right = Clock::by_hand(NOW_MS);
    let listener = TlsListener::open(&section(""), house(&dir, &right)).unwrap();
    assert_eq!(listener.facts().not_after_ms, second(NOW_MS + 365 * DAY_MS));
}

#[test]
fn every_state_that_a_power_cut_leaves_is_usable() {
    let dir = tempfile::tempdir().unwrap();
    let clock = Clock::by_hand(NOW_MS);
    let folder = dir.path().join(FOLDER);
    let open = || TlsListener::open(&section(""), house(&dir, &clock));
    // Nothing but the folder and its lock; a file that was begun.
    drop(ca::take_turn(&folder).unwrap());
    std::fs::write(folder.join("authority.new"), "-----BEGIN").unwrap();
    let first = open().unwrap().facts();
    let authority = || {
        let authority = Authority::open(&folder).unwrap().unwrap();
        authority.facts().sha256.clone()
    };
    let known = authority();
    // The authority alone.
    std::fs::remove_file(folder.join("server.pem")).unwrap();
    let second = open().unwrap().facts();
    assert_eq!(
        (authority(), second.issuer.clone()),
        (known.clone(), first.issuer)
    );
    assert_eq!(
        open().unwrap().facts(),
        second,
        "the same at the next start"
    );
    // What is damaged of this box's is made anew.
    let pem = std::fs::read(folder.join("server.pem")).unwrap();
    std::fs::write(folder.join("server.pem"), &pem[..pem.len() / 2]).unwrap();
    assert_ne!(open().unwrap().facts().serial, second.serial);
    // What can't be had again is asked for, not made anew.
    let key = rcgen::KeyPair::generate().unwrap();
    ca::give_out(&folder, &ident("door-1"), &key, NOW_MS, 10).unwrap();
    let pem = std::fs::read(folder.join("authority.pem")).unwrap();
    std::fs::write(folder.join("authority.pem"), &pem[..pem.len() / 2]).unwrap();
    let error = open().unwrap_err().to_string();
    assert!(
        error.contains("restore the folder ca from the backup"),
        "{error}"
    );
    std::fs::remove_file(folder.join("authority.pem")).unwrap();
    let error = open().unwrap_err().to_string();
    assert!(
        error.contains("Restore the folder ca from the backup"),
        "{error}"
    );
    // A backup brings all of it back.
    std::fs::write(folder.join("authority.pem"), &pem).unwrap();
    let error = open().unwrap_err().to_string();
    assert!(
        error.contains("chmod 600"),
        "a copy that others can read: {error}"
    );
    use std::os::unix::fs::PermissionsExt as _;
    let private = std::fs::Permissions::from_mode(0o600);
    std::fs::set_permissions(folder.join("authority.pem"), private).unwrap();
    open().unwrap();
    assert_eq!(authority(), known);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_estate_may_have_authorities_of_its_own() {
    let pki = Bed::start("names = [\"127.0.0.1\"]").await;
    let pair = ca::Pair::open(&pki.folder()).unwrap().unwrap();
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str| dir.path().join(name);
    let server = std::fs::read(pki.folder().join("server.pem")).unwrap();
    std::fs::write(file("both.pem"), server).unwrap();
    let authority = ca::pem::of_certificate(pki.authority().certificate());
    std::fs::write(file("ca.pem"), authority).unwrap();
    use std::os::unix::fs::PermissionsExt as _;
    let private = std::fs::Permissions::from_mode(0o640);
    std::fs::set_permissions(file("both.pem"), private).unwrap();
    let more = format!(
        "certificate_file = {0:?}\nkey_file = {0:?}\nclient_ca_file = {1:?}\nclient_certificates = \"required\"",
        file("both.pem"),
        file("ca.pem")
    );
    let bed = Bed::start(&more).await;
    assert!(
        !bed.folder().join("authority.pem").exists(),
        "none was asked for"
    );
    assert_eq!(bed.listener.facts(), pair.facts);
    let paper = pki.paper("door-1");
    let config = pki.client(Some(&paper));
    let connect = bare(Version::V5, "door-1");
    let mut client = Tls::login(bed.address(), config, &connect).await.unwrap();
    client.is_served("door-1").await;
    bed.broker.stop().await;
    pki.broker.stop().await;
}
