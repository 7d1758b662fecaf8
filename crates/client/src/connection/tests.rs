//! A connection before brokers that are old, slow, silent or confused.

use ottla_protocol::Request;
use ottla_protocol::codec::Writer;
use ottla_protocol::header::RequestHeader;
use ottla_protocol::messages::api_versions::ApiVersion;
use ottla_protocol::messages::{FetchRequest, MetadataRequest, MetadataResponse, ProduceRequest};

use super::*;

fn at(ms: u64) -> Now {
    Now { monotonic_us: ms * 1000, wall_ms: 0 }
}

fn connection() -> Connection {
    Connection::new("me".to_owned(), Duration::from_secs(30), 2)
}

/// The header and the body of the next request, length checked.
fn sent(connection: &mut Connection) -> Option<(RequestHeader, Bytes)> {
    let mut frame = connection.outgoing()?;
    let length = u32::from_be_bytes(frame.split_to(4)[..].try_into().unwrap());
    assert_eq!(length as usize, frame.len());
    let (key, version) = RequestHeader::peek(&frame).unwrap();
    let flexible = ApiKey::from_code(key).unwrap().is_flexible(version);
    let mut reader = Reader::new(frame);
    let header = RequestHeader::decode(&mut reader, if flexible { 2 } else { 1 }).unwrap();
    Some((header, reader.rest()))
}

fn response<M: Message>(to: &RequestHeader, body: &M, version: i16) -> Bytes {
    let mut writer = Writer::new();
    let key = ApiKey::from_code(to.api_key).unwrap();
    let header_version = key.response_header_version(to.api_version);
    ResponseHeader { correlation_id: to.correlation_id }.encode(&mut writer, header_version).unwrap();
    body.encode(&mut writer, version).unwrap();
    writer.into_bytes().freeze()
}

fn versions(rows: &[(ApiKey, i16, i16)]) -> ApiVersionsResponse {
    let row = |(key, min_version, max_version): &(ApiKey, i16, i16)| ApiVersion {
        api_key: key.code(),
        min_version: *min_version,
        max_version: *max_version,
    };
    ApiVersionsResponse { api_keys: rows.iter().map(row).collect(), ..Default::default() }
}

fn ready(rows: &[(ApiKey, i16, i16)]) -> Connection {
    let mut connection = connection();
    connection.opened(at(0));
    let (asked, _) = sent(&mut connection).unwrap();
    connection.frame(at(0), response(&asked, &versions(rows), asked.api_version)).unwrap();
    connection
}

#[test]
fn nothing_is_sent_before_the_versions_are_agreed() {
    let mut connection = connection();
    connection.submit(at(0), Ticket(7), Call::new(MetadataRequest::default()));
    assert!(connection.outgoing().is_none());
    connection.opened(at(1));
    let (asked, body) = sent(&mut connection).unwrap();
    assert_eq!((asked.api_key, asked.client_id.as_deref()), (18, Some("me")));
    let request = ApiVersionsRequest::decode(&mut Reader::new(body), asked.api_version).unwrap();
    assert_eq!(request.client_software_name, "ottla");
    assert!(connection.outgoing().is_none());
    let rows = [(ApiKey::Metadata, 0, 9)];
    connection.frame(at(2), response(&asked, &versions(&rows), asked.api_version)).unwrap();
    let (asked, _) = sent(&mut connection).unwrap();
    assert_eq!((asked.api_key, asked.api_version), (3, 9));
    connection.frame(at(3), response(&asked, &MetadataResponse::default(), 9)).unwrap();
    let finished = connection.finished().unwrap();
    assert_eq!(finished.ticket, Ticket(7));
    finished.outcome.unwrap().decode::<MetadataRequest>().unwrap();
    assert_eq!(connection.load(), 0);
}

#[test]
fn an_old_broker_that_refuses_our_api_versions_is_asked_again_in_its_own() {
    for (rows, expected) in [(vec![(ApiKey::ApiVersions, 0, 2)], 2), (Vec::new(), 0)] {
        let mut connection = connection();
        connection.opened(at(0));
        let (asked, _) = sent(&mut connection).unwrap();
        let mut refusal = versions(&rows);
        refusal.error_code = Refusal::UnsupportedVersion.code();
        connection.frame(at(0), response(&asked, &refusal, 0)).unwrap();
        let (asked, _) = sent(&mut connection).unwrap();
        assert_eq!(asked.api_version, expected);
        let rows = versions(&[(ApiKey::Metadata, 0, 1)]);
        connection.frame(at(0), response(&asked, &rows, expected)).unwrap();
        assert!(connection.is_ready());
    }
}

#[test]
fn a_broker_that_refuses_version_0_too_is_no_broker() {
    let mut connection = connection();
    connection.opened(at(0));
    let mut refusal = versions(&[]);
    refusal.error_code = Refusal::UnsupportedVersion.code();
    let (asked, _) = sent(&mut connection).unwrap();
    connection.frame(at(0), response(&asked, &refusal, 0)).unwrap();
    let (asked, _) = sent(&mut connection).unwrap();
    let broken = connection.frame(at(0), response(&asked, &refusal, 0)).unwrap_err();
    assert_eq!(broken, Broken::NoVersions(Refusal::UnsupportedVersion));
}

#[test]
fn a_call_without_a_common_version_fails_and_the_next_goes_on() {
    let mut connection = ready(&[(ApiKey::Metadata, 0, 9), (ApiKey::Fetch, 100, 101)]);
    connection.submit(at(0), Ticket(1), Call::new(FetchRequest::default()));
    connection.submit(at(0), Ticket(2), Call::new(ProduceRequest::default()));
    connection.submit(at(0), Ticket(3), Call::new(MetadataRequest::default()).within(10, i16::MAX));
    connection.submit(at(0), Ticket(4), Call::new(MetadataRequest::default()).within(0, 4));
    for ticket in 1..=3 {
        let finished = connection.finished().unwrap();
        assert_eq!(finished.ticket, Ticket(ticket));
        assert!(matches!(finished.outcome, Err(ClientError::UnsupportedVersion(_))), "{finished:?}");
    }
    assert_eq!(sent(&mut connection).unwrap().0.api_version, 4);
}

#[test]
fn no_more_calls_are_under_way_than_allowed() {
    let mut connection = ready(&[(ApiKey::Metadata, 0, 9)]);
    for ticket in 0..4 {
        connection.submit(at(0), Ticket(ticket), Call::new(MetadataRequest::default()));
    }
    let (first, _) = sent(&mut connection).unwrap();
    sent(&mut connection).unwrap();
    assert!(connection.outgoing().is_none());
    connection.frame(at(1), response(&first, &MetadataResponse::default(), 9)).unwrap();
    assert!(sent(&mut connection).is_some() && connection.outgoing().is_none());
    assert_eq!(connection.finished().unwrap().ticket, Ticket(0));
}

#[test]
fn answers_out_of_order_and_answers_to_nothing_break_the_connection() {
    let mut connection = ready(&[(ApiKey::Metadata, 0, 9)]);
    let stray = Bytes::from_static(&[0, 0, 0, 9, 0]);
    assert!(matches!(connection.frame(at(0), stray.clone()), Err(Broken::Malformed(_))));
    connection.submit(at(0), Ticket(1), Call::new(MetadataRequest::default()));
    assert!(matches!(connection.frame(at(0), stray), Err(Broken::OutOfOrder { found: 9, .. })));
}

#[test]
fn a_call_whose_answer_breaks_the_connection_fails_with_it() {
    for answer in [&[][..], &[0, 0, 0], &[0x7f, 0xff, 0xff, 0xff]] {
        let mut connection = ready(&[(ApiKey::Metadata, 0, 9)]);
        for ticket in [1, 2, 3] {
            connection.submit(at(0), Ticket(ticket), Call::new(MetadataRequest::default()));
        }
        connection.frame(at(0), Bytes::from_static(answer)).unwrap_err();
        let (lost, unsent) = connection.close(&ClientError::Closed);
        let lost: Vec<_> = lost.into_iter().map(|done| (done.ticket, done.outcome.unwrap_err())).collect();
        assert_eq!(lost, [1, 2].map(|ticket| (Ticket(ticket), ClientError::Closed)));
        assert_eq!(unsent.len(), 1);
    }
}

#[test]
fn an_overdue_request_is_noticed_and_closing_tells_what_was_lost() {
    let mut connection = ready(&[(ApiKey::Metadata, 0, 9)]);
    let soon = Call::new(MetadataRequest::default()).timeout(Duration::from_millis(100));
    for (ticket, call) in [soon, Call::new(MetadataRequest::default()), Call::new(MetadataRequest::default())]
        .into_iter()
        .enumerate()
    {
        connection.submit(at(0), Ticket(ticket as u64), call);
    }
    assert_eq!(connection.deadline(), Some(at(0).after_ms(100)));
    assert_eq!(connection.step(at(99)), Ok(()));
    assert_eq!(connection.step(at(100)), Err(Broken::TimedOut("Metadata")));
    let (lost, unsent) = connection.close(&ClientError::Closed);
    assert_eq!(lost.iter().map(|f| f.ticket.0).collect::<Vec<_>>(), [0, 1]);
    assert_eq!(unsent.iter().map(|(ticket, _)| ticket.0).collect::<Vec<_>>(), [2]);
}

#[test]
fn an_unanswered_call_is_done_when_it_is_written() {
    let mut connection = ready(&[(ApiKey::Produce, 0, 9)]);
    connection.submit(at(0), Ticket(1), Call::new(ProduceRequest::default()).unanswered());
    assert!(connection.outgoing().is_some());
    assert!(connection.finished().unwrap().outcome.is_ok());
    assert_eq!((connection.load(), connection.deadline()), (0, None));
}

#[test]
fn a_response_header_is_flexible_with_its_request_but_for_api_versions() {
    assert!(MetadataRequest::flexible(9) && !MetadataRequest::flexible(8));
    let call = Call::new(MetadataRequest::default());
    assert_eq!((call.response_header_version(8), call.response_header_version(9)), (0, 1));
    assert_eq!(Call::new(ApiVersionsRequest::default()).response_header_version(3), 0);
}
