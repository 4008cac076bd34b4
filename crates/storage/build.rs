//! Embeds the migrations anew when one is added: the macro that reads them does not see new files.

fn main() {
    println!("cargo::rerun-if-changed=migrations");
}
