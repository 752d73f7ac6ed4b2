//! `liftline demo --once`: the three stories, told by the product itself.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

use std::process::Stdio;

use it::hub::liftline;
use tokio::process::Command;

#[tokio::test]
async fn the_demo_tells_its_three_stories() {
    let folder = tempfile::tempdir().unwrap();
    let output = Command::new(liftline())
        .args(["demo", "--once", "--listen", "127.0.0.1:0", "--data", "demo-data"])
        .current_dir(folder.path())
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await
        .unwrap();
    let told = String::from_utf8_lossy(&output.stdout);
    println!("{told}");
    assert!(output.status.success(), "{told}\n{}", String::from_utf8_lossy(&output.stderr));
    for words in
        ["forecast", "because:", "entrapment", "care page: http://", "released", "outage", "(40 lifts)", "complete"]
    {
        assert!(told.contains(words), "\"{words}\" is missing from:\n{told}");
    }
    assert!(folder.path().join("demo-data/liftline.sqlite").exists(), "the data stays where it says");
}
