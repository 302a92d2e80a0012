//! What a person at a keypad or scanner reads: one short line, Chinese and English. Never a code.

use alloc::format;
use alloc::string::{String, ToString};

use firmware_protocols::Ident;

use crate::parcel::Taker;

pub(crate) const SCAN_WAYBILL: &str = "请扫描运单 Badge accepted: scan a waybill";
pub(crate) const BADGE_FIRST: &str = "请先刷工牌 Scan your badge first";
pub(crate) const BADGE_EXPIRED: &str =
    "工牌已过期，请联系公司 Badge expired: ask your company for a new one";
pub(crate) const UNKNOWN_SYMBOL: &str =
    "无法识别，请联系物业 Not known here: neither a badge nor an expected parcel";
pub(crate) const NO_POINT: &str =
    "本设备未配置取件点，请联系物业 This device belongs to no pickup point: call the office";
pub(crate) const COLLECTED_ALREADY: &str = "此包裹已取走 This parcel has been collected";
pub(crate) const CANCELLED: &str = "此包裹已取消，请带回 This parcel is cancelled: take it back";
pub(crate) const NO_CONSENT: &str =
    "收件人未同意入柜，请送至自提点 No consent to a locker: take the parcel to a desk";
pub(crate) const FULL: &str =
    "没有合适的空柜，请送至自提点 No free compartment fits: take the parcel to a desk";
pub(crate) const NOTHING_INSIDE: &str =
    "柜内无包裹，请重新扫描 Nothing was put in: scan the waybill again";
pub(crate) const AT_DESK: &str = "已登记，请收好包裹 Registered: keep the parcel at the desk";
pub(crate) const THANKS: &str = "取件成功，谢谢 Collected, thank you";
pub(crate) const NOT_HERE_YET: &str =
    "包裹尚未送达，请稍后再来 Your parcel is not here yet: please come back later";
pub(crate) const USED: &str = "取件码已失效 This code is not good any more";
pub(crate) const NO_ANSWER: &str = "柜门没有回应，请重试 The lock did not answer: please try again";
pub(crate) const NOT_PUT_IN: &str =
    "柜内无物品，请重新输入退货码 Nothing was put in: type your return code again";
pub(crate) const DID_NOT_OPEN: &str = "柜门未打开，请重试 The door did not open: please try again";
pub(crate) const IN_USE_AGAIN: &str =
    "柜子已被占用，请联系物业 The compartment is in use again: call the office";
pub(crate) const TOO_LATE: &str =
    "信号延迟，请重新输入 That arrived too late: please enter it again";
pub(crate) const DEVICE_FAULT: &str = "设备故障，请联系物业 Device fault: please call the office";
pub(crate) const BUSY: &str = "系统繁忙，请稍后再试 Busy: please try again in a few minutes";

pub(crate) fn put_in(compartment: u16) -> String {
    format!(
        "{compartment}号柜已开，请放入并关门 Compartment {compartment}: put the parcel in, close the door"
    )
}

pub(crate) fn take_out(compartment: u16) -> String {
    format!(
        "{compartment}号柜已开，请取件并关门 Compartment {compartment}: take your parcel, close the door"
    )
}

pub(crate) fn stored(compartment: u16) -> String {
    format!("已存入{compartment}号柜 Stored in compartment {compartment}")
}

pub(crate) fn close_door(compartment: u16) -> String {
    format!("请关好{compartment}号柜门 Please close compartment {compartment}")
}

pub(crate) fn other_point(point: &Ident) -> String {
    format!("此包裹应送至 {point} This parcel belongs to {point}")
}

pub(crate) fn wrong(left: u32) -> String {
    format!("取件码错误，还可尝试{left}次 Wrong code, {}", tries(left))
}

pub(crate) fn found_empty(compartment: u16) -> String {
    format!(
        "{compartment}号柜是空的，请联系物业 Compartment {compartment} is empty: please call the office"
    )
}

/// How many tries are left, for a sentence.
pub(crate) fn tries(left: u32) -> String {
    match left {
        1 => "1 more try".to_string(),
        left => format!("{left} more tries"),
    }
}

/// A time for people and records, in UTC (RFC 3339).
pub(crate) fn moment(wall_ms: i64) -> String {
    match jiff::Timestamp::from_millisecond(wall_ms) {
        Ok(moment) => format!("{moment:.0}"),
        Err(_) => format!("{wall_ms} ms"),
    }
}

pub(crate) fn locked(ms: u64) -> String {
    let minutes = ms.div_ceil(60_000);
    format!("键盘已锁定，请{minutes}分钟后再试 Locked: try again in {minutes} min")
}

// Placing and depositing.

pub(crate) const CODE_EXPIRED: &str =
    "派件码已过期，请联系公司 Courier code expired: ask your company for a new one";
pub(crate) const NO_MORE_PARCELS: &str =
    "无法登记此包裹，请联系物业 No more parcels can be taken in: call the office";

/// A courier has identified, with a badge or a code.
pub(crate) fn welcome(badge: bool, going_back: usize) -> String {
    let what = if badge { "Badge" } else { "Code" };
    match going_back {
        0 if badge => SCAN_WAYBILL.into(),
        0 => format!("请扫描运单 {what} accepted: scan a waybill"),
        n => format!(
            "请扫描运单；{n}件待取回，请按0 {what} accepted: scan a waybill; {n} to take back: type 0"
        ),
    }
}

/// `desk` with its address.
pub(crate) fn no_consent(desk: &str) -> String {
    format!("收件人未同意入柜，请送至自提点 No consent to a locker: take the parcel to {desk}")
}

/// `desk` with its address.
pub(crate) fn full(desk: &str) -> String {
    format!("没有合适的空柜，请送至自提点 No free compartment fits: take the parcel to {desk}")
}

pub(crate) fn close_first(compartment: u16) -> String {
    format!("请先关好{compartment}号柜门 Close compartment {compartment} first")
}

pub(crate) fn put_in_first(compartment: u16) -> String {
    format!(
        "请先将上一件放入{compartment}号柜 Put the first parcel into {compartment}, close the door"
    )
}

pub(crate) fn wrong_compartment(closed: u16, meant: u16) -> String {
    format!("包裹放入了{closed}号柜？应放入{meant}号柜 Parcel in {closed}? Yours is {meant}")
}

pub(crate) fn mislaid(compartment: u16) -> String {
    format!(
        "包裹可能在{compartment}号柜，请联系物业 The parcel may lie in {compartment}: call the office"
    )
}

// What isn't the straight way: several parcels, what goes back, returns, desks.

/// The longest text that a device shows, characters.
const TEXT_MAX: usize = 256;

/// As many characters of parcels' names as a text has room for, if they are several.
const NAMES_MAX: usize = 120;

pub(crate) const BEING_TAKEN_BACK: &str =
    "此包裹正被取回，请联系物业 This parcel is just being taken back: ask the office";
pub(crate) const NOTHING_GOES_BACK: &str = "没有需要取回的包裹 Nothing to take back here";
pub(crate) const RETURN_TAKEN_IN: &str =
    "退货已登记，请收好 Return registered: keep it for the courier";
pub(crate) const RETURN_TAKEN_OUT: &str =
    "退货已取出，可凭码重新放入 Taken out again: your code lets you bring it back";

pub(crate) fn not_emptied(compartment: u16, taker: &Taker) -> String {
    match taker {
        Taker::Recipient => format!(
            "{compartment}号柜内仍有物品，取件码仍有效 Compartment {compartment} is not empty: your code stays good"
        ),
        Taker::Courier(_) => format!(
            "{compartment}号柜内仍有物品，请按0重开 Compartment {compartment} is not empty: type 0 to open it again"
        ),
        Taker::Operator(_) | Taker::Desk { .. } => {
            format!("{compartment}号柜内仍有物品 Compartment {compartment} is not empty")
        }
    }
}

pub(crate) fn thanks_more(more: usize, good: bool) -> String {
    if good {
        format!(
            "取件成功，还有{more}件，请再次输入取件码 Collected; {more} more here: type your code again"
        )
    } else {
        format!(
            "取件成功，还有{more}件，请输入其取件码 Collected; {more} more here: type the code of the next one"
        )
    }
}

pub(crate) fn hand_over(parcels: &[String]) -> String {
    match parcels {
        [] | [_] => "验证成功，请交付包裹 Code accepted: hand the parcel over".to_string(),
        several => {
            let (count, names) = (several.len(), listed(several));
            format!(
                "验证成功，请交付{count}件包裹 Code accepted: hand the parcel over, {count} in all: {names}"
            )
        }
    }
}

/// `place` with its address.
pub(crate) fn waits_at(place: &str) -> String {
    format!("您的包裹在此 Your parcel waits at: {place}")
}

/// `place` with its address.
pub(crate) fn being_moved(place: &str) -> String {
    format!("包裹正在移送 Your parcel is just being brought to: {place}")
}

pub(crate) fn being_filled(compartment: u16) -> String {
    format!(
        "正在向{compartment}号柜投放，请稍后再输入 Compartment {compartment} is just being filled: try again when it is closed"
    )
}

pub(crate) fn take_back(compartment: u16) -> String {
    format!(
        "{compartment}号柜已开，请取回包裹并关门 Compartment {compartment}: take the parcel back, close the door"
    )
}

pub(crate) fn take_only(compartment: u16, parcels: &[String]) -> String {
    let names = listed(parcels);
    format!(
        "{compartment}号柜已开，仅取所列包裹并关门 Compartment {compartment}: close the door after you take only {names}"
    )
}

pub(crate) fn taken_back(more: usize) -> String {
    match more {
        0 => "已取回 Taken back: nothing more goes back here".to_string(),
        more => format!("已取回，还有{more}件，请按0 Taken back; {more} more: type 0"),
    }
}

pub(crate) fn give_back(parcel: &str, more: usize) -> String {
    match more {
        0 => format!("最后一件，请交给快递员 The last one, give it to the courier: {parcel}"),
        more => format!(
            "请交给快递员，还有{more}件请按0 {more} more after this (type 0), give to the courier: {parcel}"
        ),
    }
}

/// `desk` with its address.
pub(crate) fn bring_to_desk(desk: &str) -> String {
    format!("请送至 Bring it to: {desk}")
}

/// `desk` with its address, if there is one.
pub(crate) fn no_room_for_return(desk: Option<&str>) -> String {
    match desk {
        Some(desk) => {
            format!("没有合适的空柜，请送至 No free compartment fits, hand it in at: {desk}")
        }
        None => "没有合适的空柜，请稍后再来 No free compartment fits: please come back later"
            .to_string(),
    }
}

/// Text as long as a device shows it.
pub(crate) fn clipped(text: String) -> String {
    match text.char_indices().nth(TEXT_MAX) {
        Some((end, _)) => text.get(..end).map(String::from).unwrap_or(text),
        None => text,
    }
}

/// The names of the first few parcels, as far as they have room.
fn listed(parcels: &[String]) -> String {
    let mut names = String::new();
    for parcel in parcels {
        let room = names.chars().count() + parcel.chars().count() <= NAMES_MAX;
        if !names.is_empty() {
            names.push_str(", ");
        }
        if !room && !names.is_empty() {
            names.push('…');
            break;
        }
        names.push_str(parcel);
    }
    names
}

// Codes of other points.

/// `place`: a point and its address.
pub(crate) fn waits_elsewhere(place: &str) -> String {
    format!("您的包裹在 {place} Your parcel is at {place}")
}
