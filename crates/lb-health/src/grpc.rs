//! gRPC's health protocol (`grpc.health.v1`), as bytes: what is asked, and what was answered.
//!
//! A message of gRPC is a byte that says whether it is compressed, its length in four, and a protobuf message. That of the question has
//! one field, the name of the service (1, a string, left out where it is empty); that of the answer has its status (1, an
//! enumeration). Two fields are no reason for a protobuf library, and unknown ones are passed over, as the protocol wants.

/// What an endpoint says about a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServingStatus {
    /// It says nothing.
    Unknown,
    /// It serves.
    Serving,
    /// It does not.
    NotServing,
    /// It does not know this service; `Watch` alone says so, `Check` fails.
    ServiceUnknown,
}

impl ServingStatus {
    /// The path of the call.
    pub const PATH: &str = "/grpc.health.v1.Health/Check";

    /// The question about a service, framed; empty for the endpoint as a whole.
    #[must_use]
    pub fn question(service: &str) -> Vec<u8> {
        let mut message = Vec::with_capacity(service.len() + 6);
        if !service.is_empty() {
            message.push(FIELD_ONE << 3 | LENGTH_DELIMITED);
            put_varint(&mut message, service.len() as u64);
            message.extend_from_slice(service.as_bytes());
        }
        let length = u32::try_from(message.len()).unwrap_or(u32::MAX).to_be_bytes();
        let mut framed = vec![0];
        framed.extend_from_slice(&length);
        framed.append(&mut message);
        framed
    }

    /// Reads an answer, framed.
    ///
    /// # Errors
    /// It is incomplete, compressed (which nobody asked for), or no such message.
    pub fn parse(framed: &[u8]) -> Result<Self, &'static str> {
        let (head, rest) = framed.split_first_chunk::<5>().ok_or("the response has no message")?;
        let [compressed, length @ ..] = *head;
        if compressed != 0 {
            return Err("the response is compressed");
        }
        let length = u32::from_be_bytes(length) as usize;
        let mut message = rest.get(..length).ok_or("the message is incomplete")?;
        let mut status = 0;
        while !message.is_empty() {
            let key = varint(&mut message).ok_or(MALFORMED)?;
            match (key >> 3, key & 7) {
                (1, 0) => status = varint(&mut message).ok_or(MALFORMED)?,
                (_, 0) => drop(varint(&mut message).ok_or(MALFORMED)?),
                (_, 1) => message = message.get(8..).ok_or(MALFORMED)?,
                (_, 2) => {
                    let length = usize::try_from(varint(&mut message).ok_or(MALFORMED)?).map_err(|_| MALFORMED)?;
                    message = message.get(length..).ok_or(MALFORMED)?;
                }
                (_, 5) => message = message.get(4..).ok_or(MALFORMED)?,
                _ => return Err(MALFORMED),
            }
        }
        Ok(match status {
            1 => Self::Serving,
            2 => Self::NotServing,
            3 => Self::ServiceUnknown,
            _ => Self::Unknown,
        })
    }

    /// Its name in the protocol.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Unknown => "UNKNOWN",
            Self::Serving => "SERVING",
            Self::NotServing => "NOT_SERVING",
            Self::ServiceUnknown => "SERVICE_UNKNOWN",
        }
    }
}

const MALFORMED: &str = "the response is no HealthCheckResponse";
const FIELD_ONE: u8 = 1;
const LENGTH_DELIMITED: u8 = 2;

fn put_varint(to: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        to.push(value as u8 | 0x80);
        value >>= 7;
    }
    to.push(value as u8);
}

/// At most ten bytes of seven bits each; what is beyond 64 bits is lost, as protobuf says.
fn varint(from: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..70).step_by(7) {
        let (&byte, rest) = from.split_first()?;
        *from = rest;
        value |= u64::from(byte & 0x7f).checked_shl(shift).unwrap_or(0);
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
#[cfg(not(loom))]
mod tests {
    use super::*;

    /// As `protoc --encode` writes them.
    #[test]
    fn the_question_names_the_service() {
        assert_eq!(ServingStatus::question(""), [0, 0, 0, 0, 0]);
        assert_eq!(ServingStatus::question("shop.Cart"), *b"\0\0\0\0\x0b\x0a\x09shop.Cart");
        let long = ServingStatus::question(&"a".repeat(300));
        assert_eq!((long.len(), &long[..8]), (308, &[0, 0, 0, 1, 47, 0x0a, 0xac, 0x02][..]));
    }

    #[test]
    fn the_answer_is_its_first_field() {
        let framed = |message: &[u8]| [&[0, 0, 0, 0, message.len() as u8], message].concat();
        let read = |message: &[u8]| ServingStatus::parse(&framed(message));
        assert_eq!(read(&[8, 1]), Ok(ServingStatus::Serving));
        assert_eq!(read(&[8, 2]), Ok(ServingStatus::NotServing));
        assert_eq!(read(&[8, 3]), Ok(ServingStatus::ServiceUnknown));
        assert_eq!(read(&[]), Ok(ServingStatus::Unknown), "zero is left out");
        assert_eq!(read(&[8, 0x81, 0]), Ok(ServingStatus::Serving), "a varint may be longer than it must");
        let others = [0x12, 2, b'h', b'i', 0x1d, 1, 2, 3, 4, 0x21, 1, 2, 3, 4, 5, 6, 7, 8, 0x28, 7, 8, 1];
        assert_eq!(read(&others), Ok(ServingStatus::Serving), "unknown fields of every kind");
        assert_eq!(read(&[8, 1, 8, 2]), Ok(ServingStatus::NotServing), "the last one counts");
    }

    #[test]
    fn what_is_no_answer_is_refused() {
        assert_eq!(ServingStatus::parse(&[]), Err("the response has no message"));
        assert_eq!(ServingStatus::parse(&[1, 0, 0, 0, 0]), Err("the response is compressed"));
        assert_eq!(ServingStatus::parse(&[0, 0, 0, 0, 3, 8, 1]), Err("the message is incomplete"));
        for message in [
            &[8][..],
            &[8, 0x80],
            &[0x12, 5, 1],
            &[0x0b],
            &[0x21, 1],
            &[0x1d],
            &[0xff; 11],
            &[8, 1, 0x12, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1],
        ] {
            let framed = [&[0, 0, 0, 0, message.len() as u8], message].concat();
            assert_eq!(ServingStatus::parse(&framed), Err(MALFORMED), "{message:?}");
        }
    }
}
