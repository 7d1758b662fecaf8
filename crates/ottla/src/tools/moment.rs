//! Dates and durations as Kafka's tools take them: those that Java's `SimpleDateFormat` and `Duration` read.

use std::time::Duration;

const MS_OF_SECOND: i64 = 1000;
const MS_OF_MINUTE: i64 = 60 * MS_OF_SECOND;
const MS_OF_HOUR: i64 = 60 * MS_OF_MINUTE;
const MS_OF_DAY: i64 = 24 * MS_OF_HOUR;

/// The moment, in ms since 1970, of `YYYY-MM-DDThh:mm:ss.sss`, in UTC unless `Z`, `+hh` or `+hh:mm` follows.
///
/// # Errors
/// What Java says of a text that is none.
pub fn date_time(text: &str) -> Result<i64, String> {
    let Some((_, time)) = text.split_once('T') else {
        return Err(
            "Error parsing timestamp. It does not contain a 'T' according to ISO8601 format".to_owned()
        );
    };
    let time = time.split('T').next().unwrap_or(time);
    let zoned = time.contains(['+', '-', 'Z']);
    let whole = if zoned { text.to_owned() } else { format!("{text}Z") };
    read_date_time(&whole).ok_or_else(|| format!("Unparseable date: \"{whole}\""))
}

fn read_date_time(text: &str) -> Option<i64> {
    let mut rest = text;
    let year = number(&mut rest, Some("-"))?;
    let month = number(&mut rest, Some("-"))?;
    let day = number(&mut rest, Some("T"))?;
    let hour = number(&mut rest, Some(":"))?;
    let minute = number(&mut rest, Some(":"))?;
    let second = number(&mut rest, Some("."))?;
    let ms = number(&mut rest, None)?;
    let fits = (1..=12).contains(&month)
        && (1..=days_of(year, month)).contains(&day)
        && hour < 24
        && minute < 60
        && second < 60
        && ms < 1000;
    if !fits {
        return None;
    }
    let days = days_since_1970(year, month, day)?;
    let local = days
        .checked_mul(MS_OF_DAY)?
        .checked_add(hour * MS_OF_HOUR + minute * MS_OF_MINUTE + second * MS_OF_SECOND + ms)?;
    local.checked_sub(zone(rest)?)
}

/// Digits, then what must follow them.
fn number(rest: &mut &str, then: Option<&str>) -> Option<i64> {
    let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
    let value: i64 = rest.get(..end)?.parse().ok()?;
    let behind = rest.get(end..)?;
    *rest = match then {
        Some(then) => behind.strip_prefix(then)?,
        None => behind,
    };
    Some(value)
}

/// How far a zone is ahead of UTC, in ms; what follows it does not count.
fn zone(text: &str) -> Option<i64> {
    let sign = match text.as_bytes().first()? {
        b'Z' => return Some(0),
        b'+' => 1,
        b'-' => -1,
        _ => return None,
    };
    let hours: i64 = text.get(1..3)?.parse().ok().filter(|hours| *hours < 24)?;
    let minutes = text.get(3..).and_then(|rest| rest.strip_prefix(':')).and_then(|rest| rest.get(..2));
    let minutes: i64 =
        minutes.and_then(|text| text.parse().ok()).filter(|minutes| *minutes < 60).unwrap_or(0);
    Some(sign * (hours * MS_OF_HOUR + minutes * MS_OF_MINUTE))
}

fn is_leap(year: i64) -> bool {
    year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
}

fn days_of(year: i64, month: i64) -> i64 {
    match month {
        2 if is_leap(year) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days from 1970-01-01 in the Gregorian calendar; years as far as ms can count them.
fn days_since_1970(year: i64, month: i64, day: i64) -> Option<i64> {
    if !(1..=200_000_000).contains(&year) {
        return None;
    }
    // Years begin in March here, so that the leap day is the last one.
    let from_march = (month + 9) % 12;
    let year = if month <= 2 { year - 1 } else { year };
    let (era, of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let of_year = (153 * from_march + 2) / 5 + day - 1;
    let of_era = of_era * 365 + of_era / 4 - of_era / 100 + of_year;
    Some(era * 146_097 + of_era - 719_468)
}

/// The year, month and day of a moment in ms since 1970, then the ms of that day.
pub fn civil(ms: i64) -> (i64, i64, i64, i64) {
    let days = ms.div_euclid(MS_OF_DAY) + 719_468;
    let (era, of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let from_march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
    let year = year + era * 400 + i64::from(month <= 2);
    (year, month, day, ms.rem_euclid(MS_OF_DAY))
}

/// A length of time as `PnDTnHnMn.nS`, in ms; parts, and the whole, may be negative.
///
/// # Errors
/// What Java says of a text that is none.
pub fn duration(text: &str) -> Result<i64, String> {
    read_duration(&text.to_ascii_uppercase()).ok_or_else(|| "Text cannot be parsed to a Duration".to_owned())
}

fn read_duration(text: &str) -> Option<i64> {
    let (sign, rest) = signed(text);
    let rest = rest.strip_prefix('P')?;
    let (days, time) = match rest.split_once('T') {
        Some((_, "")) => return None,
        Some((days, time)) => (days, time),
        None if rest.is_empty() => return None,
        None => (rest, ""),
    };
    let mut total = 0i64;
    if !days.is_empty() {
        total = part(days.strip_suffix('D')?, MS_OF_DAY)?;
    }
    let mut rest = time;
    for (unit, ms) in [('H', MS_OF_HOUR), ('M', MS_OF_MINUTE)] {
        if let Some((value, behind)) = rest.split_once(unit) {
            total = total.checked_add(part(value, ms)?)?;
            rest = behind;
        }
    }
    if !rest.is_empty() {
        total = total.checked_add(seconds(rest.strip_suffix('S')?)?)?;
    }
    total.checked_mul(sign)
}

fn signed(text: &str) -> (i64, &str) {
    match text.as_bytes().first() {
        Some(b'-') => (-1, &text[1..]),
        Some(b'+') => (1, &text[1..]),
        _ => (1, text),
    }
}

fn part(text: &str, ms: i64) -> Option<i64> {
    let (sign, digits) = signed(text);
    let plain = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
    digits.parse::<i64>().ok().filter(|_| plain)?.checked_mul(sign * ms)
}

fn seconds(text: &str) -> Option<i64> {
    let (whole, fraction) = text.split_once(['.', ',']).unwrap_or((text, ""));
    if fraction.len() > 9 || !fraction.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let ms: i64 = format!("{fraction:0<3}").get(..3)?.parse().ok()?;
    let sign = signed(whole).0;
    part(whole, MS_OF_SECOND)?.checked_add(sign * ms)
}

/// Milliseconds as a duration; negative ones are none.
pub fn millis(ms: i64) -> Duration {
    Duration::from_millis(u64::try_from(ms).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_read_with_and_without_a_zone() {
        assert_eq!(date_time("1970-01-01T00:00:00.000"), Ok(0));
        assert_eq!(date_time("2024-02-29T12:34:56.789"), Ok(1_709_210_096_789));
        assert_eq!(date_time("2024-02-29T12:34:56.789Z"), Ok(1_709_210_096_789));
        assert_eq!(date_time("2024-02-29T14:34:56.789+02:00"), Ok(1_709_210_096_789));
        assert_eq!(date_time("2024-02-29T10:34:56.789-02"), Ok(1_709_210_096_789));
        assert_eq!(date_time("1969-12-31T23:59:59.999"), Ok(-1));
    }

    #[test]
    fn what_is_no_date_is_said_so_in_javas_words() {
        assert_eq!(
            date_time("2024-01-01"),
            Err("Error parsing timestamp. It does not contain a 'T' according to ISO8601 format".to_owned())
        );
        for bad in
            ["2023-02-29T00:00:00.000", "2024-01-01T24:00:00.000", "2024-01-01T00:00:00", "xT00:00:00.000"]
        {
            assert_eq!(date_time(bad), Err(format!("Unparseable date: \"{bad}Z\"")));
        }
    }

    #[test]
    fn civil_is_the_way_back() {
        assert_eq!(civil(1_709_210_096_789), (2024, 2, 29, ((12 * 60 + 34) * 60 + 56) * 1000 + 789));
        assert_eq!(civil(-1), (1969, 12, 31, MS_OF_DAY - 1));
        for day in (-700_000..800_000).step_by(379) {
            let (year, month, date, _) = civil(day * MS_OF_DAY);
            assert_eq!(days_since_1970(year, month, date), Some(day));
        }
    }

    #[test]
    fn durations_are_iso_8601s() {
        assert_eq!(duration("PT1H"), Ok(3_600_000));
        assert_eq!(duration("p1dt2h3m4.5s"), Ok(93_784_500));
        assert_eq!(duration("-PT1M"), Ok(-60_000));
        assert_eq!(duration("PT-1.5S"), Ok(-1500));
        assert_eq!(duration("P2D"), Ok(172_800_000));
        for bad in ["", "P", "PT", "1H", "PT1", "P1H", "PT1H1H", "P1DT"] {
            assert!(duration(bad).is_err(), "{bad}");
        }
    }
}
