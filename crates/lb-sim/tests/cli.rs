//! The command as a person or a check runs it.

use std::process::{Command, Output};

fn lb_sim(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_lb-sim")).args(arguments).output().expect("cargo has built it")
}

#[test]
fn json_has_a_row_for_each_comparison_and_is_the_same_each_time() {
    let arguments = ["bounded", "--quick", "--seeds", "2", "--json"];
    let output = lb_sim(&arguments);
    assert!(output.status.success());
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let rows = json["rows"].as_array().unwrap();
    assert!(rows.len() > 20, "{}", rows.len());
    for row in rows {
        assert!(row["name"].is_string() && row["ours"].is_f64() && row["tolerance"].is_string(), "{row}");
        assert!(row["published"].is_f64() || row["published"].is_null(), "{row}");
        assert_eq!(row["ok"], true, "{row}");
    }
    let on_one_thread = [&arguments[..], &["--threads", "1"]].concat();
    assert_eq!(lb_sim(&on_one_thread).stdout, output.stdout);
}

#[test]
fn what_is_not_a_table_is_refused() {
    assert_eq!(lb_sim(&["no-such-table"]).status.code(), Some(2));
    assert_eq!(lb_sim(&["balls", "--seeds", "1"]).status.code(), Some(2), "no interval from one run");
    assert_eq!(lb_sim(&["svg", "no/such/folder", "--quick", "--seeds", "2"]).status.code(), Some(2));
}
