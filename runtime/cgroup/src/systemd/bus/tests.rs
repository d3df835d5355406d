//! A server of the test's own stands in for the bus and for systemd.

use std::io::Write;
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::thread::JoinHandle;

use super::super::message::call;
use super::*;

const PATIENT: Duration = Duration::from_secs(5);

/// The server's side of one connection.
struct Server(UnixStream);

impl Server {
    /// Reads the greeting, and answers it.
    fn greet(&mut self) {
        let mut auth = [0; "\0AUTH EXTERNAL\r\nDATA\r\nBEGIN\r\n".len()];
        self.0.read_exact(&mut auth).unwrap();
        assert_eq!(&auth, b"\0AUTH EXTERNAL\r\nDATA\r\nBEGIN\r\n");
        self.0.write_all(b"DATA\r\nOK 12\r\n").unwrap();
        let hello = self.receive();
        assert_eq!(hello.member, "Hello");
        self.answer(1, ":1.7".into());
        let rule = self.receive();
        assert_eq!(rule.member, "AddMatch");
        assert!(rule.text(0).unwrap().ends_with("arg2='u.scope'"), "{rule:?}");
    }

    fn receive(&mut self) -> Message {
        let mut fixed = [0; FIXED];
        self.0.read_exact(&mut fixed).unwrap();
        let mut bytes = vec![0; message::length(&fixed).unwrap()];
        bytes[..FIXED].copy_from_slice(&fixed);
        self.0.read_exact(&mut bytes[FIXED..]).unwrap();
        Message::parse(&bytes).unwrap()
    }

    /// Sends a message of a type, with the header's fields by their codes.
    fn send(&mut self, kind: u8, fields: Vec<(u8, Value)>, body: &[Value]) {
        let mut bytes = Vec::new();
        body.iter().for_each(|value| value.write(&mut bytes));
        // A call's bytes, for the form of the fixed part.
        let template = call(SYSTEMD, 1, 0, &[]);
        let mut message = template[..4].to_vec();
        message[1] = kind;
        Value::Uint32(bytes.len() as u32).write(&mut message);
        Value::Uint32(1).write(&mut message);
        let signature = Value::Signature(body.iter().map(Value::signature).collect());
        let fields = fields.into_iter().chain([(8, signature)]);
        let fields =
            fields.map(|(code, value)| Value::Struct(vec![Value::Byte(code), value.variant()]));
        Value::Array("(yv)".into(), fields.collect()).write(&mut message);
        super::super::value::align(&mut message, 8);
        message.extend(bytes);
        self.0.write_all(&message).unwrap();
    }

    fn answer(&mut self, to: u32, value: Value) {
        self.send(2, vec![(5, Value::Uint32(to)), (7, ":1.0".into())], &[value]);
    }

    fn refuse(&mut self, to: u32, name: &str, text: &str) {
        let fields = vec![(5, Value::Uint32(to)), (4, name.into()), (7, ":1.0".into())];
        self.send(3, fields, &[text.into()]);
    }

    fn removed(&mut self, sender: &str, job: &str, result: &str) {
        let fields = vec![
            (1, Value::Path(SYSTEMD.path.into())),
            (2, SYSTEMD.interface.into()),
            (3, "JobRemoved".into()),
            (7, sender.into()),
        ];
        let body = [Value::Uint32(3), Value::Path(job.into()), "u.scope".into(), result.into()];
        self.send(4, fields, &body);
    }
}

/// A server that serves one connection, and its address.
fn serve(name: &str, work: fn(Server)) -> (Address, JoinHandle<()>) {
    let path = std::env::temp_dir().join(format!("bus-{name}-{}", std::process::id()));
    let listener = UnixListener::bind(&path).unwrap();
    let path: PathBuf = path;
    let file = path.clone();
    let thread = std::thread::spawn(move || {
        let (stream, _) = listener.accept().unwrap();
        std::fs::remove_file(file).unwrap();
        work(Server(stream));
    });
    (Address::Path(path), thread)
}

fn connect_to(address: &Address) -> Result<Bus> {
    Bus::connect_to(address, "u.scope", PATIENT)
}

#[test]
fn a_job_is_done_when_systemd_itself_says_so() {
    let (address, thread) = serve("job", |mut server| {
        server.greet();
        let start = server.receive();
        assert_eq!((&*start.member, start.text(0)), ("StartTransientUnit", Some("u.scope")));
        // What came before the answer counts; what others send does not, nor does another job.
        server.removed(":1.0", "/job/8", "failed");
        server.answer(3, Value::Path("/job/9".into()));
        server.removed(":1.66", "/job/9", "failed");
        server.removed(":1.0", "/job/9", "done");
        server.receive();
        server.answer(4, Value::variant("252".into()));
    });
    let mut bus = connect_to(&address).unwrap();
    bus.job("StartTransientUnit", &["u.scope".into()]).unwrap();
    assert_eq!(bus.property("Version").unwrap(), "252");
    thread.join().unwrap();
}

#[test]
fn what_systemd_refuses_is_told_in_its_words() {
    let (address, thread) = serve("refused", |mut server| {
        server.greet();
        server.receive();
        server.refuse(3, "org.x.No", "Not you.");
        server.receive();
        server.answer(4, Value::Path("/job/1".into()));
        server.removed(":1.0", "/job/1", "timeout");
    });
    let mut bus = connect_to(&address).unwrap();
    let error = bus.call("StopUnit", &["u.scope".into()]).unwrap_err();
    assert_eq!(error.to_string(), "org.x.No: Not you.");
    let error = bus.job("StopUnit", &["u.scope".into()]).unwrap_err();
    assert_eq!(error.to_string(), "the job ended as \"timeout\"");
    thread.join().unwrap();
}

#[test]
fn silence_has_an_end() {
    let (address, thread) = serve("silent", |mut server| {
        // It hears, and says nothing, until the other side has gone.
        let mut byte = [0];
        while server.0.read(&mut byte).unwrap() > 0 {}
    });
    let start = Instant::now();
    let error = Bus::connect_to(&address, "u.scope", Duration::from_millis(200)).err().unwrap();
    assert!(matches!(error, BusError::Silent { .. }), "{error}");
    assert!(start.elapsed() < PATIENT);
    thread.join().unwrap();
}

#[test]
fn others_than_a_bus_are_not_understood() {
    for (name, work, reason) in [
        (
            "rejects",
            (|mut server| server.0.write_all(b"REJECTED EXTERNAL\r\n").unwrap()) as fn(Server),
            "REJECTED EXTERNAL",
        ),
        ("leaves", |_| {}, "closed"),
        ("babbles", |mut server| server.0.write_all(&[b'x'; 4096]).unwrap(), "never ends"),
        (
            "lies",
            |mut server| server.0.write_all(b"DATA\r\nOK 1\r\n0123456789abcdef").unwrap(),
            "no message",
        ),
    ] {
        let (address, thread) = serve(name, work);
        let error = connect_to(&address).err().unwrap();
        // One that leaves without reading resets the connection.
        let reset = matches!(error, BusError::Talk { .. });
        assert!(reset || error.to_string().contains(reason), "{name}: {error}");
        thread.join().unwrap();
    }
    let error = connect_to(&Address::Path("/nonexistent".into())).err().unwrap();
    assert!(matches!(error, BusError::Connect { source: Errno::ENOENT, .. }), "{error}");
}
