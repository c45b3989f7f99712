//! Small windows: a phone, and a page at 200 % and at 400 %.

use serde_json::json;

use super::browser;
use super::chromium::Browser;
use super::program::Server;
use super::recording::{DB, WEB, four_troubles, three_units};

/// What may be touched, and is visible. The skip link is for the keyboard.
const TOUCHED: &str = "$$('button, a[href], input, summary, [role=row][tabindex]')
    .filter((node) => node.checkVisibility() && node.id !== 'skip')";

/// How many pixels around the middle of an element a touch still reaches it, across and down, up to
/// some more than 44.
const REACH: &str = "(node) => {
    node.scrollIntoView({ block: 'center', inline: 'center' });
    const { left, top, width, height } = node.getBoundingClientRect();
    const [x, y] = [left + width / 2, top + height / 2];
    const hits = (x, y) => node.contains(document.elementFromPoint(x, y));
    const reach = (dx, dy) => {
        let pixels = 0;
        while (pixels < 46 && hits(x + dx * (pixels + 0.4), y + dy * (pixels + 0.4))) pixels++;
        return pixels;
    };
    return [reach(-1, 0) + reach(1, 0), reach(0, -1) + reach(0, 1)];
}";

/// The first row, if nothing covers it.
const FIRST_ROW: &str = "(() => {
    const { top, bottom, left } = $('.line.unit').getBoundingClientRect();
    const hit = document.elementFromPoint(left + 40, (top + bottom) / 2);
    return bottom <= innerHeight && $('.line.unit').contains(hit);
})()";

/// Whether only what is meant to scrolls sideways.
const FITS: &str = "document.documentElement.scrollWidth <= document.documentElement.clientWidth
    && document.body.scrollWidth <= document.body.clientWidth";

/// Whether a list begins right below the bar, which is at the top, but for fractions of a pixel.
const LIST_BELOW_BAR: &str = "((list) => {
    const bar = $('#bar').getBoundingClientRect();
    const { top } = list.getBoundingClientRect();
    return list.checkVisibility() && Math.abs(bar.top) < 1 && Math.abs(top - bar.bottom) < 1;
})";

/// Whether all of the cluster is shown, and is not going to change.
const SHOWN: &str = "live() && $$('.trouble').length === 4 && $$('.chip').length === 7";

const RIGHT: &str = "\u{e014}";

#[tokio::test]
async fn the_first_row_is_visible_below_four_troubles_and_seven_chips() {
    let browser = browser!();
    let server = Server::replay(&four_troubles());

    browser.open(&server.url("")).await;
    for (width, height) in [(390, 844), (640, 360), (1440, 900)] {
        browser.resize(width, height).await;
        browser.until(SHOWN).await;
        browser.until(FIRST_ROW).await;
        assert_eq!(browser.value("scrollY").await, 0);
    }
    browser.finish(&server, &[]).await;
}

#[tokio::test]
async fn a_long_badge_leaves_the_button_of_the_keys_beside_the_title() {
    let browser = browser!();
    let server = Server::replay(&four_troubles());

    browser.resize(320, 568).await;
    browser.open(&server.url("")).await;
    browser.until(SHOWN).await;
    let is_beside = "(() => {
        const [title, keys, badge] =
            ['h1', '#show-keys', '#link'].map((part) => $(part).getBoundingClientRect());
        return keys.left >= title.right && keys.top < title.bottom && badge.right <= innerWidth;
    })()";
    assert_eq!(browser.value(is_beside).await, true);
    browser.finish(&server, &[]).await;
}

#[tokio::test]
async fn all_troubles_and_chips_of_a_phone_can_be_scrolled_to() {
    let browser = browser!();
    let server = Server::replay(&four_troubles());

    browser.resize(390, 844).await;
    browser.open(&server.url("")).await;
    browser.until(SHOWN).await;
    for list in ["troubles", "chips"] {
        let height = format!("$('#{list}').offsetHeight < 100");
        assert_eq!(browser.value(&height).await, true, "{list}: one line");
        browser
            .value(&format!("$('#{list} li:last-child button').focus()"))
            .await;
        browser
            .until(&format!(
                "document.activeElement.getBoundingClientRect().right <= innerWidth
                 && $('#{list}').scrollLeft > 0"
            ))
            .await;
    }
    browser.finish(&server, &[]).await;
}

#[tokio::test]
async fn a_tab_scrolls_to_its_list_and_keeps_the_focus() {
    let browser = browser!();
    let server = Server::replay(&four_troubles());
    let list_below_bar = |tab: &str| format!("{LIST_BELOW_BAR}($('#{tab}'))");

    for (width, height) in [(390, 844), (640, 360)] {
        browser.resize(width, height).await;
        browser.open(&server.url("")).await;
        browser.until(SHOWN).await;
        assert_eq!(browser.value("scrollY").await, 0);

        browser.click("#tab-units").await;
        browser.until(&list_below_bar("units")).await;
        browser.value("scrollBy(0, 700)").await;
        browser.click("#tab-machines").await;
        browser.until("!$('#machines').hidden").await;

        browser.value("scrollTo(0, 0)").await;
        browser.value("$('#tab-machines').focus()").await;
        browser.press(RIGHT).await;
        browser.until("!$('#timeline').hidden").await;
        browser.press(RIGHT).await;
        browser.until(&list_below_bar("units")).await;
        assert_eq!(browser.value("document.activeElement.id").await, "tab-units");
    }
    browser.finish(&server, &[]).await;
}

#[tokio::test]
async fn a_tab_leaves_the_summary_where_it_is_in_a_large_window() {
    let browser = browser!();
    let server = Server::replay(&four_troubles());

    browser.open(&server.url("")).await;
    browser.until(SHOWN).await;
    browser.click("#tab-machines").await;
    browser.until("!$('#machines').hidden").await;
    assert_eq!(browser.value("scrollY").await, 0);

    browser.click("#tab-units").await;
    browser.until("rows().length > 4").await;
    browser.value("scrollTo(0, 1000)").await;
    browser.until("scrollY > 500").await;
    browser.click("#tab-units").await;
    browser.until(&format!("{LIST_BELOW_BAR}($('#units'))")).await;
    browser.finish(&server, &[]).await;
}

#[tokio::test]
async fn what_is_touched_is_44_pixels_wide_and_high() {
    let browser = browser!();
    let server = Server::replay(&four_troubles());
    let views = [
        (
            "tab=units&open=failed.service/3f1a8c5e9b2d4f60a7c1d2e3b4f50617",
            "$('.opened .copy') && isLaidOut()",
        ),
        ("tab=machines", "$('.unit-name') && $('.next-steps:not([hidden])')"),
        ("tab=timeline", "$('#tab-timeline')"),
        (
            "tab=units&muted=failed/failed.service/3f1a8c5e9b2d4f60a7c1d2e3b4f50617",
            "mutes().some(isMuted)",
        ),
    ];

    for is_touched in [false, true] {
        if is_touched {
            browser.touch().await;
        }
        let width = if is_touched { 1024 } else { 390 };
        browser.resize(width, 844).await;
        for (view, awaited) in views {
            browser.open(&server.url(&format!("#{view}"))).await;
            browser.until(&format!("{SHOWN} && {awaited}")).await;
            let small = format!(
                "{TOUCHED}.map((node) => [node.outerHTML.slice(0, 90), ...({REACH})(node)])
                    .filter(([, across, down]) => across < 44 || down < 44)"
            );
            assert_eq!(browser.value(&small).await, json!([]), "{view}, {width}");
            let count = browser.value(&format!("{TOUCHED}.length")).await;
            assert!(count.as_u64().unwrap() > 15, "{view}: {count}");
        }

        browser.click("#show-keys").await;
        let small =
            format!("$$('#keys button').map({REACH}).filter((reach) => Math.min(...reach) < 44)");
        assert_eq!(browser.value(&small).await, json!([]));
    }
    browser.finish(&server, &[]).await;
}

#[tokio::test]
async fn an_event_is_touched_in_all_its_height() {
    let browser = browser!();
    let failed = [("api.service", WEB, "failed/failed"), ("cron.timer", DB, "failed/failed")];
    let server = Server::replay(&three_units().at(0.1, &failed));

    browser.resize(390, 844).await;
    browser.open(&server.url("#tab=timeline")).await;
    browser.until("live() && $('.event button:not([hidden])')").await;
    let reach = format!("({REACH})($('.event button:not([hidden])'))");
    let reach = browser.value(&reach).await;
    assert!(reach[1].as_u64().unwrap() >= 44, "{reach}");
    browser.finish(&server, &[]).await;
}

#[tokio::test]
async fn in_a_low_window_nothing_covers_the_rows() {
    let browser = browser!();
    let server = Server::replay(&four_troubles());

    for (width, height) in [(640, 360), (844, 390), (320, 256)] {
        browser.resize(width, height).await;
        browser.open(&server.url("")).await;
        browser.until(SHOWN).await;
        browser
            .value("scrollTo(0, document.documentElement.scrollHeight)")
            .await;
        browser.until("names().includes('app-37.service')").await;
        let covered = "$('#bar').getBoundingClientRect().bottom > 0
            || $('.head').getBoundingClientRect().bottom > 0";
        assert_eq!(browser.value(covered).await, false, "{width}");
    }
    browser.finish(&server, &[]).await;
}

#[tokio::test]
async fn no_window_has_to_be_scrolled_sideways() {
    let browser = browser!();
    let server = Server::replay(&four_troubles());
    let sizes = [(1440, 900), (768, 1024), (390, 844), (640, 360), (320, 568), (320, 256)];
    let views = [
        "tab=units&open=lost.service/d2e8f4a10b6c4973b5d7e9f1a3c5b7d9",
        "tab=machines",
        "tab=timeline",
    ];

    for (width, height) in sizes {
        browser.resize(width, height).await;
        for view in views {
            browser.open(&server.url(&format!("#{view}"))).await;
            browser.until(SHOWN).await;
            assert_eq!(browser.value(FITS).await, true, "{view}, {width} by {height}");
        }

        browser.value("$('#show-keys').click()").await;
        let dialog = "$('#keys').scrollWidth <= $('#keys').clientWidth
            && $('#keys').getBoundingClientRect().left >= 0";
        assert_eq!(browser.value(dialog).await, true, "the keys, {width} by {height}");
    }
    browser.finish(&server, &[]).await;
}
