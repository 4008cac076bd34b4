//! Ways of writing one file.

use serde_json::Value;

use super::Case;
use countersign_testkit::Dice;

const ROLES: [&str; 4] = ["root", "targets", "snapshot", "timestamp"];

fn signed(name: &str, role: &'static str, change: impl Fn(String) -> String + 'static) -> Case {
    Case { name: name.to_owned(), role, signed: Box::new(change), file: Box::new(|file| file) }
}

fn file(name: &str, role: &'static str, change: impl Fn(String) -> String + 'static) -> Case {
    Case { name: name.to_owned(), role, signed: Box::new(|text| text), file: Box::new(change) }
}

/// Puts one text in another's place, which must be there.
fn swap(from: &'static str, to: impl Into<String>) -> impl Fn(String) -> String {
    let to = to.into();
    move |text| {
        assert!(text.contains(from), "{from} is not in {text}");
        text.replacen(from, &to, 1)
    }
}

/// Adds members at the end of the outermost object.
fn add(members: &str) -> impl Fn(String) -> String + use<> {
    let members = members.to_owned();
    move |text| format!("{},{members}}}", text.strip_suffix('}').unwrap())
}

/// Puts another value in place of a member's string.
fn expires(to: &str) -> impl Fn(String) -> String + use<> {
    let to = to.to_owned();
    move |text| {
        let (before, rest) = text.split_once(r#""expires":""#).unwrap();
        let (old, after) = rest.split_once('"').unwrap();
        format!(r#"{before}"expires":{}{after}"#, to.replace("OLD", old))
    }
}

/// One character changed by chance, in what is signed of each role.
pub(super) fn random(each: u64) -> Vec<Case> {
    let seeds = (0..each).flat_map(|seed| ROLES.map(|role| (seed, role)));
    seeds.map(|(seed, role)| signed(&format!("change {seed}"), role, move |text| change(&text, seed))).collect()
}

fn change(text: &str, seed: u64) -> String {
    const LETTERS: &[u8] = b"{}[]\",:\\/0123456789-+.eEtfnuaAzZ_";
    let mut dice = Dice::of(seed);
    let mut below = |limit: usize| usize::try_from(dice.below(limit as u64)).unwrap();
    let mut bytes = text.as_bytes().to_vec();
    let (place, letter) = (below(bytes.len()), LETTERS[below(LETTERS.len())]);
    match below(3) {
        0 => bytes[place] = letter,
        1 => bytes.insert(place, letter),
        _ => {
            bytes.remove(place);
        }
    }
    String::from_utf8(bytes).unwrap()
}

pub(super) fn all() -> Vec<Case> {
    let mut cases = Vec::new();
    for role in ROLES {
        cases.extend([in_signed(role), versions(role), times(role), types(role)].into_iter().flatten());
    }
    // All four kinds of file have one kind of envelope.
    for role in ["root", "targets"] {
        cases.extend(in_envelope(role));
    }
    cases.extend(in_targets());
    cases.extend(in_root());
    cases.extend(in_listing());
    cases
}

fn in_signed(role: &'static str) -> Vec<Case> {
    let pretty = |text: String| serde_json::to_string_pretty(&serde_json::from_str::<Value>(&text).unwrap()).unwrap();
    let mut cases = vec![signed("unchanged", role, |text| text), signed("spaces", role, pretty)];
    for (name, members) in [
        ("an unknown member", r#""zz":{"a":[1,2,{"b":null}]}"#),
        ("an unknown null", r#""zz":null"#),
        ("an unknown fraction", r#""zz":0.5"#),
        ("an unknown exponent", r#""zz":1e3"#),
        ("an unknown very large number", r#""zz":1e400"#),
        ("an unknown integer of 70 bits", r#""zz":1180591620717411303424"#),
        ("an unknown minus zero", r#""zz":-0"#),
        ("an unknown number with a zero in front", r#""zz":01"#),
        ("an unknown string with a lone surrogate", r#""zz":"\ud800""#),
        ("an unknown string with a zero", r#""zz":"\u0000""#),
        ("an unknown string with a raw line break", "\"zz\":\"a\nb\""),
        ("an unknown string with an unknown escape", r#""zz":"\x41""#),
        ("an unknown string with escaped slash and letter", r#""zz":"a\/\u0062""#),
        ("an unknown string with angle brackets", r#""zz":"<&>""#),
        ("an unknown string with U+2028", "\"zz\":\"\u{2028}\""),
        ("an unknown name that is empty", r#""":1"#),
        ("NaN", r#""zz":NaN"#),
        ("the version again, the same", r#""version":1"#),
        ("the version again, another", r#""version":2"#),
        ("the version in capitals too", r#""VERSION":2"#),
        ("the expiry in capitals too", r#""Expires":"2001-01-01T00:00:00Z""#),
        ("an unknown member twice", r#""zz":1,"zz":2"#),
        ("a comma at the end", ""),
    ] {
        cases.push(signed(name, role, add(members)));
    }
    for (name, depth) in [("an unknown member 100 deep", 100), ("an unknown member 20000 deep", 20_000)] {
        let deep = format!(r#""zz":{}{}"#, "[".repeat(depth), "]".repeat(depth));
        cases.push(signed(name, role, add(&deep)));
    }
    cases
}

fn versions(role: &'static str) -> Vec<Case> {
    let mut cases = Vec::new();
    for (name, version) in [
        ("version 1.0", "1.0"),
        ("version 1e0", "1e0"),
        ("version 0", "0"),
        ("version -1", "-1"),
        ("version +1", "+1"),
        ("version 01", "01"),
        ("version as a string", "\"1\""),
        ("version null", "null"),
        ("version true", "true"),
        ("version 2^53", "9007199254740992"),
        ("version 2^53+1", "9007199254740993"),
        ("version 2^63", "9223372036854775808"),
    ] {
        cases.push(signed(name, role, swap(r#""version":1"#, format!(r#""version":{version}"#))));
    }
    cases.push(signed("no version", role, swap(r#","version":1"#, "")));
    cases.push(signed("a version with an escaped name", role, swap(r#""version""#, r#""\u0076ersion""#)));
    cases.push(signed("a version in capitals only", role, swap(r#""version""#, r#""Version""#)));
    cases
}

fn times(role: &'static str) -> Vec<Case> {
    let mut cases = Vec::new();
    for (name, text) in [
        ("expiry null", "null"),
        ("expiry a number", "4102444800"),
        ("expiry empty", "\"\""),
        ("expiry in small letters", "\"2099-01-01t00:00:00z\""),
        ("expiry with a space", "\"2099-01-01 00:00:00Z\""),
        ("expiry without zone", "\"2099-01-01T00:00:00\""),
        ("expiry with an offset", "\"2099-01-01T00:00:00+01:00\""),
        ("expiry with an offset without colon", "\"2099-01-01T00:00:00+0100\""),
        ("expiry with nanoseconds", "\"2099-01-01T00:00:00.123456789Z\""),
        ("expiry with picoseconds", "\"2099-01-01T00:00:00.123456789012Z\""),
        ("expiry with a decimal comma", "\"2099-01-01T00:00:00,5Z\""),
        ("expiry at second 60", "\"2099-01-01T00:00:60Z\""),
        ("expiry at hour 24", "\"2099-01-01T24:00:00Z\""),
        ("expiry on 30 February", "\"2099-02-30T00:00:00Z\""),
        ("expiry in the year 9999", "\"9999-12-31T23:59:59Z\""),
        ("expiry in the year 10000", "\"10000-01-01T00:00:00Z\""),
        ("expiry in the year 0000", "\"0000-01-01T00:00:00Z\""),
        ("expiry with an escape", "\"2099-01-01T00:00:00\\u005a\""),
        ("expiry with a space at the end", "\"OLD \""),
        ("expiry of one digit", "\"2099-1-1T0:00:00Z\""),
    ] {
        cases.push(signed(name, role, expires(text)));
    }
    cases
}

fn types(role: &'static str) -> Vec<Case> {
    let mut cases = Vec::new();
    let names = [("root", "Root"), ("targets", "Targets"), ("snapshot", "Snapshot"), ("timestamp", "Timestamp")];
    let kind = names.iter().find(|(name, _)| *name == role).unwrap().1;
    let old: &'static str = Box::leak(format!(r#""_type":"{kind}""#).into_boxed_str());
    for (name, text) in [
        ("type in small letters", format!(r#""_type":"{}""#, kind.to_lowercase())),
        ("type in capitals", format!(r#""_type":"{}""#, kind.to_uppercase())),
        ("type of nothing", r#""_type":"Nothing""#.to_owned()),
        ("type null", r#""_type":null"#.to_owned()),
        ("type empty", r#""_type":"""#.to_owned()),
        ("type twice", format!(r#""_type":"Nothing","_type":"{kind}""#)),
        ("type with another capital name", format!(r#""_TYPE":"Nothing","_type":"{kind}""#)),
    ] {
        cases.push(signed(name, role, swap(old, text)));
    }
    cases
}

fn in_envelope(role: &'static str) -> Vec<Case> {
    let mut cases = vec![
        file("spaces around", role, |file| format!(" \t\r\n{file}\n \n")),
        file("a byte order mark in front", role, |file| format!("\u{feff}{file}")),
        file("a zero at the end", role, |file| format!("{file}\0")),
        file("another value at the end", role, |file| format!("{file}{{}}")),
        file("a brace at the end", role, |file| format!("{file}}}")),
        file("the last brace missing", role, |file| file.strip_suffix('}').unwrap().to_owned()),
        file("an unknown member beside", role, add(r#""zz":[1]"#)),
        file("signatures null as well", role, add(r#""signatures":null"#)),
        file("signatures in capitals as well", role, add(r#""SIGNATURES":[]"#)),
        file("signed null as well", role, add(r#""signed":null"#)),
        file("signed in capitals as well", role, add(r#""Signed":{}"#)),
        file("in an array", role, |file| format!("[{file}]")),
        file("only null", role, |_| "null".to_owned()),
        file("nothing", role, |_| String::new()),
        file("no signatures", role, |file| {
            format!("{}\"signatures\":[]}}", file.split(r#""signatures":"#).next().unwrap())
        }),
        file("signatures first", role, |file| {
            let (signed, signatures) = file.split_once(r#","signatures":"#).unwrap();
            format!(
                r#"{{"signatures":{},{}}}"#,
                signatures.strip_suffix('}').unwrap(),
                signed.strip_prefix('{').unwrap()
            )
        }),
        file("a method in capitals", role, swap(r#""method":"ecdsa""#, r#""method":"ECDSA""#)),
        file("a method null", role, swap(r#""method":"ecdsa""#, r#""method":null"#)),
        file("no method", role, swap(r#""method":"ecdsa","#, "")),
        file("a method of nothing", role, swap(r#""method":"ecdsa""#, r#""method":"nothing""#)),
        file("a signature with an unknown member", role, swap(r#""method":"ecdsa""#, r#""zz":1,"method":"ecdsa""#)),
        file("a null signature in front", role, swap(r#""signatures":["#, r#""signatures":[null,"#)),
        file("an empty signature in front", role, swap(r#""signatures":["#, r#""signatures":[{},"#)),
        file("a line break in the signature", role, swap(r#""sig":""#, r#""sig":"\n"#)),
        file("a space in the signature", role, swap(r#""sig":""#, r#""sig":" "#)),
        file("the signature in an array", role, |file| {
            let (before, rest) = file.split_once(r#""sig":"#).unwrap();
            format!(r#"{before}"sig":[{}]}}]}}"#, rest.strip_suffix("}]}").unwrap())
        }),
        file("the signature twice", role, |file| {
            let (before, list) = file.split_once(r#""signatures":["#).unwrap();
            let one = list.strip_suffix("]}").unwrap();
            format!(r#"{before}"signatures":[{one},{one}]}}"#)
        }),
    ];
    cases.push(file("a key id in capitals", role, |file| {
        let (before, rest) = file.rsplit_once(r#""keyid":""#).unwrap();
        let (id, after) = rest.split_once('"').unwrap();
        format!(r#"{before}"keyid":"{}"{after}"#, id.to_uppercase())
    }));
    cases
}

fn in_targets() -> Vec<Case> {
    let mut cases = Vec::new();
    for (name, from, to) in [
        ("delegations null", r#""delegations":{"keys":{},"roles":[]},"#, r#""delegations":null,"#),
        ("no delegations", r#""delegations":{"keys":{},"roles":[]},"#, ""),
        ("delegations a list", r#""delegations":{"keys":{},"roles":[]},"#, r#""delegations":[],"#),
        ("delegation keys and roles null", r#"{"keys":{},"roles":[]}"#, r#"{"keys":null,"roles":null}"#),
        ("a length 2.0", r#""length":2}"#, r#""length":2.0}"#),
        ("a length as a string", r#""length":2}"#, r#""length":"2"}"#),
        ("a length below zero", r#""length":2}"#, r#""length":-2}"#),
        ("a length null", r#""length":2}"#, r#""length":null}"#),
        ("a length of 2^62", r#""length":2}"#, r#""length":4611686018427387904}"#),
        ("no length", r#","length":2}"#, "}"),
        ("a length in capitals too", r#""length":2}"#, r#""length":2,"LENGTH":3}"#),
        ("a length twice", r#""length":2}"#, r#""length":3,"length":2}"#),
        ("custom null", r#""length":2}"#, r#""length":2,"custom":null}"#),
        ("custom a string", r#""length":2}"#, r#""length":2,"custom":"x"}"#),
        ("an unknown hash", r#"{"sha256":"#, r#"{"md5":"AAAA","sha256":"#),
        ("a hash null", r#"{"sha256":"#, r#"{"sha512":null,"sha256":"#),
        ("a short hash", r#"{"sha256":"#, r#"{"sha512":"AAAA","sha256":"#),
        ("a hash name in capitals", r#"{"sha256":"#, r#"{"SHA256":"#),
        ("a hash twice", r#"{"sha256":"#, r#"{"sha256":"AAAA","sha256":"#),
        ("a hash of no base64", r#"{"sha256":""#, r#"{"sha256":"*"#),
        ("a hash with a line break", r#"{"sha256":""#, r#"{"sha256":"\n"#),
        ("a name twice", r#""targets":{"#, r#""targets":{"v1":{"hashes":{"sha256":"AAAA"},"length":9},"#),
        ("a name with an escape", r#""v1":"#, r#""\u00761":"#),
        ("an empty name", r#""v1":"#, r#""":"#),
        ("a name with a slash and points", r#""v1":"#, r#""../v1":"#),
        ("a name of letters from elsewhere", r#""v1":"#, r#""vé日":"#),
        ("a name with a lone surrogate", r#""v1":"#, r#""v\udc00":"#),
        ("an entry null", r#""targets":{"#, r#""targets":{"v0":null,"#),
        ("an entry empty", r#""targets":{"#, r#""targets":{"v0":{},"#),
        ("an entry that is a list", r#""targets":{"#, r#""targets":{"v0":[],"#),
        ("targets in capitals too", r#""targets":{"#, r#""TARGETS":{"v0":{"hashes":{},"length":1}},"targets":{"#),
        ("an unknown member of an entry", r#""length":2}"#, r#""length":2,"zz":1}"#),
    ] {
        cases.push(signed(name, "targets", swap(from, to)));
    }
    for (name, to) in [("targets null", "null"), ("targets a list", "[]"), ("no names", "{}")] {
        cases.push(signed(name, "targets", move |text| {
            let (before, _) = text.split_once(r#""targets":"#).unwrap();
            format!(r#"{before}"targets":{to},"version":1}}"#)
        }));
    }
    cases
}

fn in_root() -> Vec<Case> {
    let mut cases = Vec::new();
    for (name, from, to) in [
        ("threshold 1.0", r#""threshold":1}"#, r#""threshold":1.0}"#),
        ("threshold 0", r#""threshold":1}"#, r#""threshold":0}"#),
        ("threshold -1", r#""threshold":1}"#, r#""threshold":-1}"#),
        ("threshold as a string", r#""threshold":1}"#, r#""threshold":"1"}"#),
        ("threshold null", r#""threshold":1}"#, r#""threshold":null}"#),
        ("threshold 2", r#""threshold":1}"#, r#""threshold":2}"#),
        ("no threshold", r#","threshold":1}"#, "}"),
        ("threshold in capitals too", r#""threshold":1}"#, r#""threshold":1,"Threshold":2}"#),
        ("key ids null", r#""roles":{"#, r#""roles":{"other":{"keyids":null,"threshold":1},"#),
        ("a role of nothing", r#""roles":{"#, r#""roles":{"other":{"keyids":[],"threshold":0},"#),
        ("a role null", r#""roles":{"#, r#""roles":{"other":null,"#),
        ("a private half that is empty", r#""private":null"#, r#""private":"""#),
        ("no private half", r#""private":null,"#, ""),
        ("consistent_snapshot true", r#""consistent_snapshot":false"#, r#""consistent_snapshot":true"#),
        ("consistent_snapshot as a string", r#""consistent_snapshot":false"#, r#""consistent_snapshot":"false""#),
        ("consistent_snapshot null", r#""consistent_snapshot":false"#, r#""consistent_snapshot":null"#),
        ("no consistent_snapshot", r#""consistent_snapshot":false,"#, ""),
        (
            "a key that is not used",
            r#""keys":{"#,
            r#""keys":{"00":{"keytype":"x","keyval":{"private":null,"public":"AAAA"}},"#,
        ),
        ("a key null", r#""keys":{"#, r#""keys":{"00":null,"#),
        ("a key with an unknown member", r#""keytype":"#, r#""zz":1,"keytype":"#),
    ] {
        cases.push(signed(name, "root", swap(from, to)));
    }
    cases
}

fn in_listing() -> Vec<Case> {
    let mut cases = Vec::new();
    for (role, of) in [("snapshot", "targets"), ("timestamp", "snapshot")] {
        for (name, make) in [
            ("listed without length", "none"),
            ("listed with a longer length", "longer"),
            ("listed twice, wrongly first", "twice"),
            ("listed in capitals too", "capitals"),
            ("an unknown role listed", "unknown"),
            ("nothing listed", "empty"),
            ("listed null", "null"),
        ] {
            cases.push(signed(name, role, move |text| change_listing(&text, of, make)));
        }
    }
    cases
}

fn change_listing(text: &str, of: &str, make: &str) -> String {
    let mut value: Value = serde_json::from_str(text).unwrap();
    let begin = r#""meta":{"#;
    match make {
        "none" => {
            value["meta"][of].as_object_mut().unwrap().remove("length");
        }
        "longer" => value["meta"][of]["length"] = (value["meta"][of]["length"].as_u64().unwrap() + 1).into(),
        "null" => value["meta"][of] = Value::Null,
        "empty" => value["meta"] = serde_json::json!({}),
        "unknown" => value["meta"]["zz"] = value["meta"][of].clone(),
        _ => {}
    }
    let text = crate::owner::canonical(&value);
    let wrong = r#"{"hashes":{"sha256":"AAAA"},"length":1}"#;
    match make {
        "twice" => text.replacen(begin, &format!(r#"{begin}"{of}":{wrong},"#), 1),
        "capitals" => text.replacen(begin, &format!(r#"{begin}"{}":{wrong},"#, of.to_uppercase()), 1),
        _ => text,
    }
}
