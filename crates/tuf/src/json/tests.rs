use super::*;
use proptest::prelude::*;

fn canonical(text: &str) -> Result<String, JsonError> {
    Canonical::read(&Bytes::copy_from_slice(text.as_bytes())).map(|c| String::from_utf8(c.as_bytes().to_vec()).unwrap())
}

#[test]
fn golden_vectors_of_the_reference() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fixtures/vectors/canonical.json");
    let cases: serde_json::Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    let mut checked = 0;
    let cases = cases.as_array().cloned().unwrap_or_else(|| cases["cases"].as_array().cloned().unwrap_or_default());
    for case in &cases {
        let input = case["input"].as_str().unwrap();
        let ours = canonical(input);
        if let Some(expected) = case["canonical"].as_str() {
            match ours {
                Ok(ours) => assert_eq!(ours, expected, "{input}"),
                // Where the reference rounds or reads on, we refuse: one value, one spelling.
                Err(error) => assert!(
                    matches!(error, JsonError::Number(_) | JsonError::Repeated(_) | JsonError::Escape(_)),
                    "{input}: {error}"
                ),
            }
        } else {
            assert!(ours.is_err(), "{input}");
        }
        checked += 1;
    }
    assert!(checked > 5);
}

#[test]
fn sorts_and_unescapes() {
    assert_eq!(canonical(r#"{"b":1,"a":"x\"y\n<&>é"}"#).unwrap(), "{\"a\":\"x\\\"y\n<&>é\",\"b\":1}");
    assert_eq!(canonical(" [ 1 , -2 , { } , [ ] , true ] ").unwrap(), "[1,-2,{},[],true]");
    assert_eq!(
        canonical(r#"{"z":{"d":1,"c":2},"é":1,"a":[{"y":1,"x":2}]}"#).unwrap(),
        r#"{"a":[{"x":2,"y":1}],"z":{"c":2,"d":1},"é":1}"#
    );
    assert_eq!(canonical(r#""\u003c\u2028\ud83d\ude00\u0022\u005c\/""#).unwrap(), "\"<\u{2028}😀\\\"\\\\/\"");
}

#[test]
fn names_are_sorted_by_their_decoded_utf8_bytes() {
    // U+FF61 sorts before U+1F600 by code point, after it by UTF-16 unit.
    assert_eq!(canonical("{\"😀\":1,\"\u{ff61}\":2}").unwrap(), "{\"\u{ff61}\":2,\"😀\":1}");
    // The escaped quote sorts as a quote (0x22), not as a backslash (0x5c).
    assert_eq!(canonical(r#"{"A":1,"\"":2}"#).unwrap(), r#"{"\"":2,"A":1}"#);
}

#[test]
fn canonical_text_is_not_copied() {
    let input = Bytes::from_static(br#"{"a":[1,2,{"b":"c"}],"d":null}"#);
    let read = Canonical::read(&input).unwrap();
    assert_eq!(read.as_bytes().as_ptr(), input.as_ptr());
}

#[test]
fn repeated_members_are_refused_at_any_depth() {
    for text in
        [r#"{"a":1,"a":2}"#, r#"{"a":1,"b":1,"a":2}"#, r#"[{"x":{"k":1,"l":2,"\u006b":3}}]"#, r#"{"b":1,"a":2,"b":3}"#]
    {
        assert!(matches!(canonical(text), Err(JsonError::Repeated(_))), "{text}");
    }
}

#[test]
fn what_is_not_plain_json_is_refused() {
    for text in [
        "",
        " ",
        "nul",
        "tru",
        "01",
        "-",
        "-0",
        "1.0",
        "1e0",
        "1E2",
        "+1",
        "0x1",
        "NaN",
        "9007199254740993",
        "'a'",
        "[1,]",
        "{,}",
        "{\"a\"}",
        "{\"a\":1,}",
        "{a:1}",
        "[1 2]",
        "\"\\x\"",
        "\"\\u12\"",
        "\"\\ud800\"",
        "\"\\udc00\\ud800\"",
        "\"\\ud800\\u0041\"",
        "\"a\nb\"",
        "1 1",
        "{} x",
        "// c\n1",
        "[",
        "{",
        "\"",
        "\"a",
        "{\"a\":",
        "\u{feff}1",
        "true1",
        "1\0",
    ] {
        assert!(canonical(text).is_err(), "{text:?}");
    }
    assert!(Canonical::read(&Bytes::from_static(b"\"\xff\"")).is_err());
    assert!(canonical("9007199254740992").is_ok());
    assert!(canonical("-9007199254740992").is_ok());
}

#[test]
fn deep_nesting_is_refused_without_deep_recursion() {
    let deep = "[".repeat(500_000);
    assert_eq!(canonical(&deep), Err(JsonError::Depth(MAX_DEPTH)));
    let allowed = format!("{}{}", "[".repeat(MAX_DEPTH), "]".repeat(MAX_DEPTH));
    assert!(canonical(&allowed).is_ok());
}

#[test]
fn wire_form_escapes_as_the_reference_does() {
    let mut wire = Vec::new();
    write_wire(&mut wire, "{\"a<&>\":\"\u{2028}\u{2029}é\u{20ac}\n\"}".as_bytes());
    assert_eq!(String::from_utf8(wire).unwrap(), "{\"a\\u003c\\u0026\\u003e\":\"\\u2028\\u2029é\u{20ac}\\u000a\"}");
}

fn json() -> impl Strategy<Value = serde_json::Value> {
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(serde_json::Value::from),
        (-(1_i64 << 53)..=(1_i64 << 53)).prop_map(serde_json::Value::from),
        ".*".prop_map(serde_json::Value::from),
    ];
    leaf.prop_recursive(4, 64, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(serde_json::Value::from),
            prop::collection::btree_map(".*", inner, 0..6)
                .prop_map(|m| serde_json::Value::Object(m.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn canonical_form_is_a_fixed_point(value in json()) {
        let pretty = Bytes::from(serde_json::to_vec_pretty(&value).unwrap());
        let once = Canonical::read(&pretty).unwrap();
        let mut wire = Vec::new();
        write_wire(&mut wire, once.as_bytes());
        let reread = Canonical::read(&Bytes::from(wire.clone())).unwrap();
        prop_assert_eq!(once.as_bytes(), reread.as_bytes());
        prop_assert_eq!(serde_json::from_slice::<serde_json::Value>(&wire).unwrap(), value);
        let mut cursor = once.cursor();
        prop_assert_eq!(cursor.skip(), once.as_bytes());
    }

    #[test]
    fn no_input_panics(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = Canonical::read(&Bytes::from(bytes));
    }

    #[test]
    fn no_json_like_input_panics(text in "[\\[\\]{}\",:0-9a-f\\\\ untrls.-]{0,80}") {
        if let Ok(value) = Canonical::read(&Bytes::from(text)) {
            prop_assert_eq!(value.cursor().skip(), value.as_bytes());
        }
    }
}

#[test]
fn long_texts_are_escaped_wherever_the_special_characters_stand() {
    for special in ["<", "&", "\u{2028}", "\u{2029}", "\n", "\u{20ac}"] {
        for length in [0, 1, 253, 254, 255, 256, 257, 511, 512, 513, 2000] {
            let text = format!("{}{special}{}", "a".repeat(length), "b".repeat(300));
            let escaped = match special {
                "<" => "\\u003c",
                "&" => "\\u0026",
                "\u{2028}" => "\\u2028",
                "\u{2029}" => "\\u2029",
                "\n" => "\\u000a",
                other => other,
            };
            let mut wire = Vec::new();
            write_wire(&mut wire, text.as_bytes());
            assert_eq!(String::from_utf8(wire).unwrap(), text.replace(special, escaped));
        }
    }
}
