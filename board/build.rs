//! Makes sure that there is a page to embed: on a clean clone the web interface has not been built yet.

use std::{env, fs, io, path::Path};

const PLACEHOLDER: &str = "<!doctype html>
<html lang=\"en\">
<meta charset=\"utf-8\">
<title>Liftline</title>
<p>The board has not been built yet. Run <code>./dev demo</code> in the source folder to build it.</p>
<p lang=\"zh-CN\">看板界面尚未构建。请在源码目录运行 <code>./dev demo</code>。</p>
</html>
";

fn main() -> io::Result<()> {
    let root = env::var_os("CARGO_MANIFEST_DIR").ok_or(io::ErrorKind::NotFound)?;
    let dist = Path::new(&root).join("web/dist");
    if !dist.join("index.html").exists() {
        fs::create_dir_all(&dist)?;
        fs::write(dist.join("index.html"), PLACEHOLDER)?;
    }
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-changed=web/dist");
    Ok(())
}
