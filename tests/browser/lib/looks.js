// What can be said of a page's looks without eyes.

/** By how many pixels the page is wider than the screen, and what sticks out. */
export function overflow(page) {
  return page.evaluate(() => {
    const width = document.documentElement.clientWidth;
    const wide = document.documentElement.scrollWidth - width;
    if (wide <= 0) return null;
    const out = [...document.body.querySelectorAll("*")].filter(
      (e) => e.getBoundingClientRect().right > width + 1,
    );
    return `${wide} px too wide: ${out.slice(0, 5).map((e) => e.outerHTML.slice(0, 120))}`;
  });
}

/** Visible text whose contrast with its background is below WCAG AA. */
export function faint(page) {
  return page.evaluate(() => {
    const channels = (color) =>
      (/rgba?\(([^)]+)\)/.exec(color)?.[1] ?? "0,0,0,0").split(/[, /]+/).map(Number);
    const over = ([r, g, b, a = 1], below) => [r, g, b].map((x, i) => x * a + below[i] * (1 - a));
    const canvas = matchMedia("(prefers-color-scheme: dark)").matches ? [18, 18, 18] : [255, 255, 255];
    function background(element) {
      const layers = [];
      for (let at = element; at; at = at.parentElement)
        layers.push(channels(getComputedStyle(at).backgroundColor));
      return layers.reduceRight((below, layer) => over(layer, below), canvas);
    }
    const luminance = (color) => {
      const [r, g, b] = color.map((x) =>
        x / 255 <= 0.03928 ? x / 255 / 12.92 : ((x / 255 + 0.055) / 1.055) ** 2.4,
      );
      return 0.2126 * r + 0.7152 * g + 0.0722 * b;
    };
    const found = new Set();
    const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    while (texts.nextNode()) {
      const element = texts.currentNode.parentElement;
      const words = texts.currentNode.data.trim();
      if (
        !words ||
        !element.checkVisibility() ||
        element.closest("script, style, noscript, option, :disabled")
      )
        continue;
      const style = getComputedStyle(element);
      const below = background(element);
      const [a, b] = [luminance(over(channels(style.color), below)), luminance(below)];
      const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
      const size = parseFloat(style.fontSize);
      const large = size >= 24 || (size >= 18.6 && Number(style.fontWeight) >= 700);
      if (ratio < (large ? 3 : 4.5)) found.add(`${ratio.toFixed(2)} ${words.slice(0, 60)}`);
    }
    return [...found];
  });
}

/**
 * Words in Latin letters that a Chinese page shows, without those that are the same in Chinese: names, units, ids.
 * Left out is what is marked as English, what is code, and by what a rule ends: that may be its own expression.
 */
export function english(page, names) {
  return page.evaluate((names) => {
    const same = new Set([
      ...names,
      ..."Liftline English SMS JSON MQTT MiB Webhook UTC kg mm cm ms rpm Hz kW mA".split(" "),
    ]);
    const found = new Set();
    const look = (text, element) => {
      if (element.closest("script, style, noscript, code, kbd, pre, [lang=en], .rule")) return;
      // Arguments of commands, addresses and the like are not words.
      for (const [word] of text.replace(/https?:\S+|\S+@\S+|\w+=\w+/g, "").matchAll(/[A-Za-z][A-Za-z']+/g))
        if (!same.has(word)) found.add(word);
    };
    const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    while (texts.nextNode()) look(texts.currentNode.data, texts.currentNode.parentElement);
    for (const name of ["placeholder", "aria-label", "title", "alt"]) {
      for (const element of document.body.querySelectorAll(`[${name}]`))
        look(element.getAttribute(name), element);
    }
    return [...found].sort();
  }, names);
}
