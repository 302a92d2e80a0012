//! The names and addresses that devices reach this box by, when nobody has set them.

use std::collections::BTreeSet;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use rustls::pki_types::DnsName;

/// How many names a certificate has at most: it has to fit into a small device's buffer.
pub const NAMES_MAX: usize = 24;

/// The host's name, also as mDNS has it, and the addresses of this box at the moment, sorted. If the
/// listener has one address, only that.
pub fn box_names(listen: SocketAddr) -> Vec<String> {
    let host = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let mut names = host_names(host.trim());
    if listen.ip().is_unspecified() {
        let trie = fs::read_to_string("/proc/net/fib_trie").unwrap_or_default();
        let six = fs::read_to_string("/proc/net/if_inet6").unwrap_or_default();
        names.extend(local_v4(&trie).into_iter().map(|ip| ip.to_string()));
        names.extend(local_v6(&six).into_iter().map(|ip| ip.to_string()));
    } else {
        names.push(listen.ip().to_string());
    }
    names.truncate(NAMES_MAX);
    names
}

/// Each name once, in the form in which a certificate tells it again.
pub(crate) fn canonical(names: &[String]) -> Vec<String> {
    let mut all: Vec<String> = Vec::new();
    for name in names {
        let name = match name.parse::<IpAddr>() {
            Ok(address) => address.to_string(),
            Err(_) => name.to_ascii_lowercase(),
        };
        if !all.contains(&name) {
            all.push(name);
        }
    }
    all
}

/// Whether a certificate can have it as a name: a host's name or an address.
pub fn is_name(text: &str) -> bool {
    text.parse::<IpAddr>().is_ok()
        || (DnsName::try_from(text).is_ok()
            && text.len() <= 253
            && !text.contains('_')
            && !text.ends_with('.'))
}

fn host_names(host: &str) -> Vec<String> {
    let host = host.to_ascii_lowercase();
    let mut names = Vec::new();
    if is_name(&host) {
        if !host.contains('.') && host != "localhost" {
            names.push(format!("{host}.local"));
        }
        names.insert(0, host);
    }
    if !names.iter().any(|name| name == "localhost") {
        names.push("localhost".to_owned());
    }
    names
}

/// What `/proc/net/fib_trie` has as an address of this machine: lines `|-- ADDRESS` that are followed
/// by `/32 host LOCAL`.
fn local_v4(trie: &str) -> BTreeSet<Ipv4Addr> {
    let mut found = BTreeSet::new();
    let mut last = None;
    for line in trie.lines().map(str::trim) {
        if let Some(address) = line.strip_prefix("|-- ") {
            last = address.parse::<Ipv4Addr>().ok();
        } else if line == "/32 host LOCAL"
            && let Some(address) = last
            && !address.is_link_local()
        {
            found.insert(address);
        }
    }
    found
}

/// What `/proc/net/if_inet6` has: not what holds on one link only, nor what is changed every day for
/// privacy (flag 1).
fn local_v6(table: &str) -> BTreeSet<Ipv6Addr> {
    const TEMPORARY: u32 = 0x01;
    const GLOBAL: u32 = 0x00;
    const HOST: u32 = 0x10;
    table
        .lines()
        .filter_map(|line| {
            let fields: Vec<&str> = line.split_whitespace().collect();
            let [address, _, _, scope, flags, ..] = fields[..] else {
                return None;
            };
            let scope = u32::from_str_radix(scope, 16).ok()?;
            let flags = u32::from_str_radix(flags, 16).ok()?;
            let address = u128::from_str_radix(address, 16).ok()?;
            ([GLOBAL, HOST].contains(&scope) && flags & TEMPORARY == 0)
                .then(|| Ipv6Addr::from(address))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_tables_are_read() {
        let trie = "Main:\n  +-- 0.0.0.0/0 3 0 5\n     |-- 0.0.0.0\n        /0 universe UNICAST\n     \
                    +-- 192.168.7.0/24 2 0 2\n        |-- 192.168.7.0\n           /24 link UNICAST\n        \
                    |-- 192.168.7.9\n           /32 host LOCAL\n        |-- 192.168.7.255\n           \
                    /32 link BROADCAST\n     |-- 169.254.3.4\n        /32 host LOCAL\n";
        assert_eq!(
            Vec::from_iter(local_v4(trie)),
            [Ipv4Addr::new(192, 168, 7, 9)]
        );
        let six = "00000000000000000000000000000001 01 80 10 80       lo\n\
                   fe800000000000005054abfffe123456 02 40 20 80     eth0\n\
                   20010db8000000000000000000000009 02 40 00 80     eth0\n\
                   20010db80000000000000000000000ff 02 40 00 01     eth0\n\
                   nonsense\n";
        let found = local_v6(six);
        assert_eq!(found.len(), 2, "{found:?}");
        assert!(found.contains(&"2001:db8::9".parse().unwrap()));
    }

    #[test]
    fn a_hosts_name_is_also_told_as_mdns_has_it() {
        assert_eq!(host_names("Box-7"), ["box-7", "box-7.local", "localhost"],);
        assert_eq!(
            host_names("box.example.cn"),
            ["box.example.cn", "localhost"]
        );
        assert_eq!(host_names("(none)"), ["localhost"]);
        for bad in ["", "*.example", "a b", "-x", "a_b", "x."] {
            assert!(!is_name(bad), "{bad}");
        }
        assert!(is_name("fd00::1") && is_name("192.168.1.1"));
    }
}
