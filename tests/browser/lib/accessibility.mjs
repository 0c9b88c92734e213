// How a page appears to assistive technology and to people with low vision.

const CONTROLS = ["button", "checkbox", "combobox", "link", "region", "searchbox", "textbox", "timer"];

/** Returns the controls without a name in the accessibility tree, and the names of all buttons. */
export async function namesOf(page) {
  const devtools = await page.context().newCDPSession(page);
  const { nodes } = await devtools.send("Accessibility.getFullAXTree");
  await devtools.detach();
  const shown = nodes.filter(({ ignored }) => !ignored);
  const controls = shown.map(({ role, name }) => ({ role: role?.value, name: name?.value?.trim() ?? "" }));
  return {
    nameless: controls.filter(({ role, name }) => CONTROLS.includes(role) && name === "").map(({ role }) => role),
    buttons: controls.filter(({ role }) => role === "button").map(({ name }) => name),
  };
}

/** Returns visible texts with a contrast below 4.5 (WCAG 2.2, 1.4.3), except in disabled controls. */
export const contrasts = (page) =>
  page.evaluate(() => {
    const channels = (color) => {
      const canvas = new OffscreenCanvas(1, 1).getContext("2d", { willReadFrequently: true });
      canvas.fillStyle = color;
      canvas.fillRect(0, 0, 1, 1);
      return canvas.getImageData(0, 0, 1, 1).data;
    };
    const luminance = ([red, green, blue]) => {
      const [r, g, b] = [red, green, blue]
        .map((channel) => channel / 255)
        .map((channel) => (channel <= 0.04045 ? channel / 12.92 : ((channel + 0.055) / 1.055) ** 2.4));
      return 0.2126 * r + 0.7152 * g + 0.0722 * b;
    };
    const background = (node) => {
      for (let at = node; at; at = at.parentElement) {
        const color = channels(getComputedStyle(at).backgroundColor);
        if (color[3] > 250) return color;
      }
      return [255, 255, 255];
    };
    const hasText = (node) => [...node.childNodes].some((child) => child.nodeType === 3 && child.data.trim());
    const pale = [];
    for (const node of document.querySelectorAll("body *")) {
      if (!hasText(node) || !node.checkVisibility() || node.matches(":disabled, :disabled *, .skip")) continue;
      const [light, dark] = [channels(getComputedStyle(node).color), background(node)]
        .map(luminance)
        .sort((a, b) => b - a);
      const ratio = (light + 0.05) / (dark + 0.05);
      if (ratio < 4.5) pale.push(`${node.textContent.trim().slice(0, 40)}: ${ratio.toFixed(2)}`);
    }
    return pale;
  });
