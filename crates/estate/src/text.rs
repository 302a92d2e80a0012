//! What a person at a keypad or scanner reads: one short line, Chinese and English. Never a code.

use alloc::format;
use alloc::string::String;

use firmware_protocols::Ident;

use crate::layout::Desk;

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
pub(crate) const HAND_OVER: &str = "验证成功，请交付包裹 Code accepted: hand the parcel over";
pub(crate) const THANKS: &str = "取件成功，谢谢 Collected, thank you";
pub(crate) const NOT_HERE_YET: &str =
    "包裹尚未送达，请稍后再来 Your parcel is not here yet: please come back later";
pub(crate) const USED: &str = "取件码已失效 This code is not good any more";
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

pub(crate) fn still_inside(compartment: u16) -> String {
    format!(
        "{compartment}号柜内仍有物品，取件码仍有效 Compartment {compartment} is not empty: your code stays good"
    )
}

pub(crate) fn close_door(compartment: u16) -> String {
    format!("请关好{compartment}号柜门 Please close compartment {compartment}")
}

pub(crate) fn other_point(point: &Ident) -> String {
    format!("此包裹应送至 {point} This parcel belongs to {point}")
}

pub(crate) fn wrong(left: u32) -> String {
    format!("取件码错误，还可尝试{left}次 Wrong code, {left} more tries")
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

pub(crate) fn no_consent(desk: &Desk) -> String {
    let (id, address) = (&desk.id, &desk.address);
    format!(
        "收件人未同意入柜，请送至{id}（{address}） No consent to a locker: take the parcel to {id}, {address}"
    )
}

pub(crate) fn full(desk: &Desk) -> String {
    let (id, address) = (&desk.id, &desk.address);
    format!(
        "没有合适的空柜，请送至{id}（{address}） No free compartment fits: take the parcel to {id}, {address}"
    )
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
