//! What is found, what is written, and what is refused.

use super::*;
use std::collections::BTreeMap;

fn plain() -> Surroundings {
    Surroundings {
        arguments: BTreeMap::new(),
        platforms: Vec::new(),
        contexts: BTreeSet::new(),
        builder: Builder::BuildKit,
    }
}

fn with(change: impl FnOnce(&mut Surroundings)) -> Surroundings {
    let mut surroundings = plain();
    change(&mut surroundings);
    surroundings
}

fn pinned_in(text: &str, surroundings: &Surroundings) -> (Vec<String>, String) {
    let file = Dockerfile::read(text.as_bytes(), surroundings).unwrap_or_else(|error| panic!("{text}\n{error}"));
    (file.images().into_iter().map(str::to_owned).collect(), file.pinned(|image| Some(format!("<{image}>"))))
}

#[track_caller]
fn pins(text: &str, expected: &str) {
    assert_eq!(pinned_in(text, &plain()).1, expected, "{text}");
}

#[track_caller]
fn pins_in(surroundings: &Surroundings, text: &str, expected: &str) {
    assert_eq!(pinned_in(text, surroundings).1, expected, "{text}");
}

#[track_caller]
fn refuses(text: &str, reason: &str) {
    refuses_in(&plain(), text, reason);
}

#[track_caller]
fn refuses_in(surroundings: &Surroundings, text: &str, reason: &str) {
    let error =
        Dockerfile::read(text.as_bytes(), surroundings).map(|file| file.pinned(|image| Some(format!("<{image}>"))));
    let error = error.expect_err(text).to_string();
    assert!(error.contains(reason), "{text}\n{error}");
}

#[test]
fn one_from_is_pinned_and_all_else_stays() {
    pins("FROM alpine:3\nRUN echo hi\n", "FROM <alpine:3>\nRUN echo hi\n");
    pins("# hello\n\n  from\talpine\nCMD [\"x\"]", "# hello\n\nFROM <alpine>\nCMD [\"x\"]\n");
    pins("FROM alpine:3\r\nRUN x\r\n", "FROM <alpine:3>\nRUN x\r\n");
    pins("\u{feff}FROM alpine\n", "FROM <alpine>\n");
    let (images, _) = pinned_in("FROM reg.test:5000/a/b:1\nFROM reg.test:5000/a/b:1\n", &plain());
    assert_eq!(images, ["reg.test:5000/a/b:1"]);
}

#[test]
fn a_digest_is_an_image_like_any_other() {
    let digest = format!("alpine@sha256:{}", "a".repeat(64));
    pins(&format!("FROM {digest}\n"), &format!("FROM <{digest}>\n"));
}

#[test]
fn scratch_and_earlier_stages_are_no_images() {
    pins(
        "FROM alpine AS Build\nFROM scratch\nCOPY --from=build /a /b\nCOPY --from=0 /a /b\nFROM build AS last\nFROM LAST\n",
        "FROM <alpine> AS Build\nFROM scratch\nCOPY --from=build /a /b\nCOPY --from=0 /a /b\nFROM build AS last\nFROM LAST\n",
    );
    refuses("FROM build\nFROM alpine AS build\n", "a later stage has that name");
    refuses("FROM alpine\nCOPY --from=tools /a /b\nFROM alpine AS tools\n", "a later stage has that name");
    refuses("FROM alpine\nCOPY --from=0 /a /b\n", "there is no stage 0");
    refuses("FROM alpine\nCOPY --from=7 /a /b\n", "there is no stage 7");
}

#[test]
fn the_platform_flag_stays_and_no_other_is_understood() {
    pins("FROM --platform=$BUILDPLATFORM golang:1 as build\n", "FROM --platform=$BUILDPLATFORM <golang:1> AS build\n");
    refuses("FROM --bogus alpine\n", "--bogus");
    refuses("FROM --platform=\"x y\" alpine\n", "not understood");
}

#[test]
fn arguments_before_from_are_replaced_by_their_defaults_or_by_the_command_line() {
    let text = "ARG TAG=3\nARG BASE=alpine:${TAG} OTHER='x'\nFROM $BASE\nFROM \"${OTHER:-y}:1\"\n";
    pins(text, "ARG TAG=3\nARG BASE=alpine:${TAG} OTHER='x'\nFROM <alpine:3>\nFROM <x:1>\n");
    let given = with(|all| {
        all.arguments.insert("TAG".to_owned(), "4".to_owned());
        all.arguments.insert("UNDECLARED".to_owned(), "evil".to_owned());
    });
    pins_in(&given, "ARG TAG=3\nFROM alpine:$TAG$UNDECLARED\n", "ARG TAG=3\nFROM <alpine:4>\n");
    pins_in(&given, "ARG TAG\nFROM alpine:$TAG\n", "ARG TAG\nFROM <alpine:4>\n");
    refuses("ARG BASE\nFROM $BASE\n", "the image's name is empty");
    refuses("ARG BASE=${X/a/b}\nFROM $BASE\n", "known to the builder only");
    refuses("FROM alpine:$(id)\n", "before no name");
    pins("ARG NAME=x-${TARGETARCH}\nFROM alpine\nARG NAME\n", "ARG NAME=x-${TARGETARCH}\nFROM <alpine>\nARG NAME\n");
}

#[test]
fn a_variable_of_a_stage_is_not_one_of_from() {
    refuses("FROM alpine\nARG BASE=evil\nFROM ${BASE}\n", "the image's name is empty");
    refuses("FROM alpine\nENV BASE=evil\nFROM ${BASE}\n", "the image's name is empty");
}

#[test]
fn platform_variables_are_known_when_one_platform_is_named() {
    let text = "FROM app-$TARGETOS-${TARGETARCH}\n";
    refuses(text, "--platform");
    let arm = with(|all| all.platforms = vec!["linux/arm64".to_owned()]);
    pins_in(&arm, text, "FROM <app-linux-arm64>\n");
    let both = with(|all| all.platforms = vec!["linux/arm64".to_owned(), "linux/amd64".to_owned()]);
    refuses_in(&both, text, "another image for each platform");
    pins_in(&both, "FROM app-$TARGETOS\n", "FROM <app-linux>\n");
    refuses_in(&arm, "FROM app-$BUILDARCH\n", "known to the builder only");
    refuses_in(&arm, "FROM app-$TARGETVARIANT\n", "known to the builder only");
}

#[test]
fn copy_from_an_image_is_pinned() {
    pins(
        "FROM alpine\nCOPY --chown=1:1 --from=nginx:1 \\\n  /a \\\n  # why\n  /b\nCMD x\n",
        "FROM <alpine>\n\n\n\nCOPY --chown=1:1 --from=<nginx:1> /a   /b\nCMD x\n",
    );
    pins("FROM alpine\nCOPY --link --from=a/b /x /y\n", "FROM <alpine>\nCOPY --link --from=<a/b> /x /y\n");
    pins("FROM alpine\nCOPY -- --from=x /y\n", "FROM <alpine>\nCOPY -- --from=x /y\n");
    pins("FROM alpine\nCOPY a --from=x /y\n", "FROM <alpine>\nCOPY a --from=x /y\n");
    for hidden in [
        "COPY --fr\\om=evil /a /b",
        "COPY --\"from=evil\" /a /b",
        "COPY --from='evil' /a /b",
        "COPY --from=$X /a /b",
        "COPY --from= /a /b",
        "COPY --FROM=evil /a /b",
        "COPY --chown='a /b /c",
        "COPY --chown=\u{e0} --from=evil /b /c",
    ] {
        refuses(&format!("FROM alpine\n{hidden}\n"), "understood");
    }
    pins(
        "FROM alpine\nCOPY --chown=\"a b\" --from=nginx /a /b\n",
        "FROM <alpine>\nCOPY --chown=\"a b\" --from=<nginx> /a /b\n",
    );
}

#[test]
fn mounts_of_images_are_pinned() {
    pins(
        "FROM alpine AS a\nRUN --mount=type=bind,from=nginx,target=/x --mount=from=a,target=/y --network=none make\n",
        "FROM <alpine> AS a\nRUN --mount=type=bind,from=<nginx>,target=/x --mount=from=a,target=/y --network=none make\n",
    );
    pins(
        "FROM alpine\nRUN --mount=type=cache,target=/from x\nRUN --mount=type=secret,id=\"from\" y\n",
        "FROM <alpine>\nRUN --mount=type=cache,target=/from x\nRUN --mount=type=secret,id=\"from\" y\n",
    );
    pins(
        "FROM alpine\nRUN --mount=target=/from=nginx,from=nginx,rw x\n",
        "FROM <alpine>\nRUN --mount=target=/from=nginx,from=<nginx>,rw x\n",
    );
    for hidden in [
        "--mount=from=a,from=b",
        "--mount=type=bind,\"from=evil\"",
        "--mount=FROM=evil,target=/x",
        "--mount= from=evil",
        "--mount=from=$X",
        "--mount=fr\\om=evil",
    ] {
        let text = format!("FROM alpine\nRUN {hidden} x\n");
        match Dockerfile::read(text.as_bytes(), &plain()) {
            Err(error) => assert!(error.to_string().contains("understood"), "{text}{error}"),
            // A blank ends the flag: what follows is the command.
            Ok(file) => assert_eq!((hidden, file.images().len()), ("--mount= from=evil", 1)),
        }
    }
}

#[test]
fn continued_lines_are_one_and_line_numbers_stay() {
    pins("FROM \\\n\n# comment\n  alpine \\  \n AS x\nRUN a \\\n b\n", "\n\n\n\nFROM <alpine> AS x\nRUN a \\\n b\n");
    refuses("FROM alpine\nRUN a \\\\\nFROM evil\n", "builders differ");
    pins("# escape=`\nFROM `\nalpine\nRUN dir c:\\\n", "# escape=`\n\nFROM <alpine>\nRUN dir c:\\\n");
    refuses("# syntax=docker/dockerfile:1\n# escape=`\nFROM alpine\n", "first line");
    refuses("# escape=x\nFROM alpine\n", "escape directive");
    pins("# comment\n# escape=`\nFROM \\\nalpine\n", "# comment\n# escape=`\n\nFROM <alpine>\n");
}

#[test]
fn heredocs_are_no_instructions() {
    pins(
        "FROM alpine\nRUN <<EOF\nfrom os import path\nbogus\nEOF\nCOPY <<-'A' <<B /x/\nB\n\tA\nB\nRUN x\n",
        "FROM <alpine>\nRUN <<EOF\nfrom os import path\nbogus\nEOF\nCOPY <<-'A' <<B /x/\nB\n\tA\nB\nRUN x\n",
    );
    refuses("FROM alpine\nRUN <<EOF\nx\n", "has no end");
    for body in ["FROM evil", "from evil as x", "COPY --from=evil /a /b", "RUN --mount=from=evil x", "FR\\\nOM evil"] {
        refuses(&format!("FROM alpine\nRUN <<EOF\n{body}\nEOF\n"), "knows no heredocs");
    }
    pins(
        "FROM alpine\nRUN --mount=from=nginx,target=/n <<EOF\nls /n\nEOF\n",
        "FROM <alpine>\nRUN --mount=from=<nginx>,target=/n <<EOF\nls /n\nEOF\n",
    );
    refuses("FROM alpine\nRUN echo \"<<EOF\"\nbogus\nEOF\n", "unknown instruction: BOGUS");
}

#[test]
fn the_frontend_is_an_image_too() {
    pins("# syntax=docker/dockerfile:1\nFROM alpine\n", "# syntax=<docker/dockerfile:1>\nFROM <alpine>\n");
    pins(
        "#!/usr/bin/env docker\n#  Syntax = docker/dockerfile:1.4 more\nFROM alpine\n",
        "#!/usr/bin/env docker\n# syntax=<docker/dockerfile:1.4> more\nFROM <alpine>\n",
    );
    let file = Dockerfile::read(b"# syntax=docker/dockerfile:1\nFROM alpine\n", &plain()).unwrap();
    assert_eq!(file.frontend(), Some("docker/dockerfile:1"));
    assert_eq!(file.images().into_iter().collect::<Vec<_>>(), ["alpine"]);
    let own = file.pinned(|image| (image == "alpine").then(|| "<alpine>".to_owned()));
    assert_eq!(own, "#\nFROM <alpine>\n\n".trim_end().to_owned() + "\n", "the builder's own frontend reads it");
    refuses("# syntax=evil/frontend\nFROM alpine\n", "rules of its own");
    refuses("# syntax=reg.test/docker/dockerfile\nFROM alpine\n", "rules of its own");
    refuses("# syntax=docker/dockerfile:1\n# syntax=docker/dockerfile:1\nFROM alpine\n", "second syntax");
    refuses("// syntax=evil/frontend\nFROM alpine\n", "unknown instruction");
    refuses("{\"syntax\":\"evil/frontend\"}\nFROM alpine\n", "unknown instruction");
    pins("# hello\n# syntax=evil/frontend\nFROM alpine\n", "# hello\n# syntax=evil/frontend\nFROM <alpine>\n");
    let classic = with(|all| all.builder = Builder::Classic);
    pins_in(&classic, "# syntax=evil/frontend\nFROM alpine\n", "# syntax=evil/frontend\nFROM <alpine>\n");
}

#[test]
fn named_contexts_come_before_images() {
    let contexts = with(|all| all.contexts = [Surroundings::context_name("Alpine:latest"), "tools".to_owned()].into());
    pins_in(
        &contexts,
        "FROM docker.io/library/alpine\nCOPY --from=tools /a /b\nFROM alpine:3\n",
        "FROM docker.io/library/alpine\nCOPY --from=tools /a /b\nFROM <alpine:3>\n",
    );
}

#[test]
fn what_builders_may_read_differently_is_refused() {
    for text in ["", "# nothing\n", "ARG X=1\n"] {
        refuses(text, "no FROM");
    }
    refuses("RUN x\nFROM alpine\n", "stands before FROM");
    refuses("FROM\n", "FROM takes");
    refuses("FROM a b\n", "FROM takes");
    refuses("FROM a AS\n", "FROM takes");
    refuses("FROM a AS b c\n", "FROM takes");
    refuses("FROM alpine\nINCLUDE evil\n", "unknown instruction: INCLUDE");
    refuses("FROM Alpine:3\n", "line 1");
    refuses("FROM alpine\u{a0}:3\n", "line 1");
    refuses("FROM sha256:\n", "line 1");
    assert_eq!(Dockerfile::read(b"FROM a\0", &plain()), Err(DockerfileError::NotText));
    assert_eq!(Dockerfile::read(b"FROM \xff", &plain()), Err(DockerfileError::NotText));
}

#[test]
fn triggers_are_left_to_the_builds_that_meet_them() {
    pins("FROM alpine\nONBUILD COPY --from=x /a /b\n", "FROM <alpine>\nONBUILD COPY --from=x /a /b\n");
}

#[test]
fn carriage_returns_end_lines_however_many_there_are() {
    // The builder takes the second FROM for a part of CMD, so that there is no stage of that name.
    let text = "FROM alpine\nCMD x \\\r\r\nFROM alpine AS evil\nCOPY --from=evil /a /b\n";
    let expected = "FROM <alpine>\nCMD x \\\r\r\nFROM alpine AS evil\nCOPY --from=<evil> /a /b\n";
    pins(text, expected);
    pins("FROM alpine\r\nCOPY <<EOF /x\r\na\r\nEOF\r\n", "FROM <alpine>\nCOPY <<EOF /x\r\na\r\nEOF\r\n");
}

#[test]
fn heredocs_that_builders_may_not_see_are_refused() {
    for opening in [
        "RUN <<E '",
        "RUN <<E \"",
        "RUN <<E ${",
        "RUN <<E ${}",
        "RUN <<E ${x:?y}",
        "RUN ${X:-<<E}",
        "RUN <<E \\\\\\",
        "RUN <<E \"${x\"",
    ] {
        refuses(&format!("FROM alpine\n{opening}\nCOPY --fr\\om=evil /a /b\nE\n"), "line");
    }
    for name in ["\"A b\"", "\"A\\B\"", "$X", "A\\B", "'A'\"B\""] {
        refuses(&format!("FROM alpine\nRUN <<{name}\nx\n"), "is not understood");
    }
    for body in [
        "COPY --fr\\om=evil /a /b",
        "ONBUILD COPY --from=evil /a /b",
        "RUN \"--mount\"=from=evil x",
        "COPY --FROM=evil /a /b",
    ] {
        refuses(&format!("FROM alpine\nRUN <<E\n{body}\nE\n"), "knows no heredocs");
    }
    for body in [
        "RUN cat <<E >\"${DIR:-/tmp}/$x\" && echo $(date) '${'\nx\nE\n",
        "RUN echo $((1<<2)) \"a << b\"\nRUN x\n",
        "RUN <<E\nCMD x \\\nE\nRUN x\n",
    ] {
        pins(&format!("FROM alpine\n{body}"), &format!("FROM <alpine>\n{body}"));
    }
}

#[test]
fn triggers_that_go_off_in_the_same_file_are_refused() {
    for trigger in ["COPY --from=evil /a /b", "copy --fr\\om=evil /a /b", "RUN --mount=from=evil,target=/x x"] {
        refuses(&format!("FROM alpine AS a\nONBUILD {trigger}\nFROM a\n"), "ONBUILD");
    }
    pins("FROM alpine AS a\nONBUILD RUN x\nFROM a\n", "FROM <alpine> AS a\nONBUILD RUN x\nFROM a\n");
    pins(
        "FROM alpine AS a\nONBUILD COPY --from=x /a /b\nFROM scratch\n",
        "FROM <alpine> AS a\nONBUILD COPY --from=x /a /b\nFROM scratch\n",
    );
}
