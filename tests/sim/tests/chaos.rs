#[test]
fn t() {
    let t = std::time::Instant::now();
    let f = sim::fleet::rehearse(3).unwrap();
    println!("{:?}", t.elapsed());
    for v in &f.voices { println!("{} {}", v.device.id, v.said.len()); }
    for v in &f.trapped { println!("{} {} {:?}", v.device, v.begin, v.end); }
}
