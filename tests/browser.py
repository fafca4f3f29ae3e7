"""A page in Chromium: opened, operated as a reader would, and read back."""

import json

DESKTOP, PHONE = (1280, 900), (360, 780)


def look(driver, address, size=DESKTOP, scheme="light"):
    """Opens a page and waits until it is drawn; the logs begin anew."""
    width, height = size
    metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": size == PHONE}
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
    for log in ("browser", "performance"):
        driver.get_log(log)
    driver.get(address)
    settle(driver)


def settle(driver):
    """Waits until both charts have drawn what was chosen last."""
    driver.execute_async_script("""
        const done = arguments[0];
        (async function wait() {
            if (!window.views) return setTimeout(wait, 10);
            for (const view of Object.values(views)) await view.runAsync();
            requestAnimationFrame(() => done());
        })();""")


def script(driver, text, *arguments):
    return driver.execute_script(f"return {text}", *arguments)


def rows(driver, view, data):
    return script(driver, f"views.{view}.data('{data}').map(({{point, ...row}}) => row)")


def choose(driver, name, value):
    """Clicks the control of this name and value, as a reader would."""
    driver.find_element("css selector", f"[name={name}][value='{value}']").find_element(
        "xpath", ".."
    ).click()
    settle(driver)


def press(driver, selector, *keys):
    element = driver.find_element("css selector", selector)
    element.send_keys(*keys)
    settle(driver)


def paths(driver, chart):
    """The lines of a chart as the browser has drawn them."""
    found = driver.find_elements("css selector", f"{chart} .mark-line path")
    return [path.get_attribute("d") for path in found]


def texts(driver, selector):
    found = driver.find_elements("css selector", selector)
    return [element.get_attribute("textContent") for element in found]


def shown(driver, selector):
    found = driver.find_elements("css selector", selector)
    return [element.text for element in found if element.is_displayed()]


def requests(driver):
    """The addresses that were asked for since the page was opened."""
    messages = (json.loads(entry["message"])["message"] for entry in driver.get_log("performance"))
    sent = [m["params"] for m in messages if m["method"] == "Network.requestWillBeSent"]
    return [params["request"]["url"] for params in sent]
