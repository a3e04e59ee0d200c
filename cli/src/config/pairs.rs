//! Values that are right each by itself and wrong together.

use super::resolve::{Origin, Resolved};
use super::seeds::holds_metadata;
use super::table::Section;

/// A lease that brokers could not hold on to, told with both values and who set them.
pub(super) fn lease(section: Section, settings: &[Resolved]) -> Option<String> {
    if !holds_metadata(section, settings) {
        return None;
    }
    let find = |id: &str| settings.iter().find(|one| one.setting.id == id);
    let (lease, renew) = (find("lease_time_seconds")?, find("renew_interval_seconds")?);
    let seconds = |one: &Resolved| {
        let text = if one.values.is_empty() { one.setting.default.clone() } else { Some(one.text()) };
        text.and_then(|text| text.parse::<f64>().ok())
    };
    if seconds(lease)? >= seconds(renew)? * 2.0 {
        return None;
    }
    let said = |one: &Resolved| match one.origin {
        Origin::Default => {
            format!("--{} {} (default)", one.setting.flag, one.setting.default.as_deref().unwrap_or_default())
        }
        _ => one.said(),
    };
    Some(format!(
        "{} is less than twice {}: a broker would lose its lease between two renewals; set --{} or --{}",
        said(lease),
        said(renew),
        lease.setting.flag,
        renew.setting.flag
    ))
}
