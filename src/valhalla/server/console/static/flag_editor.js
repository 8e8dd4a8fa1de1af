// Comforts of the flag editor: sliders say their numbers, and a page that comes back stays where it was.
"use strict";
(() => {
  const form = document.querySelector("form[data-editor]");
  if (!form) return;
  const place = `valhalla.place.${location.pathname}${location.search}`;
  form.addEventListener("submit", () => { try { sessionStorage.setItem(place, String(scrollY)); } catch { /* closed */ } });
  try {
    const kept = sessionStorage.getItem(place);
    if (kept !== null) { sessionStorage.removeItem(place); scrollTo(0, Number(kept)); }
  } catch { /* closed */ }

  function balance(split, moved) {
    const whole = Number(split.querySelector("[data-whole]").value) || 0;
    const sliders = [...split.querySelectorAll("input[type=range]")];
    const others = sliders.reduce((sum, each) => sum + (each === moved ? 0 : Number(each.value)), 0);
    if (moved && others + Number(moved.value) > whole) moved.value = String(Math.max(0, whole - others));
    for (const each of sliders) each.nextElementSibling.textContent = each.value;
    const left = whole - sliders.reduce((sum, each) => sum + Number(each.value), 0);
    split.querySelector("[data-rest]").textContent = String(Math.max(0, left));
  }
  form.addEventListener("input", (event) => {
    const split = event.target.closest("[data-split]");
    if (split && event.target.matches("input[type=range]")) balance(split, event.target);
    else if (split && event.target.matches("[data-whole]")) {
      for (const each of split.querySelectorAll("input[type=range]")) each.max = event.target.value;
      balance(split, null);
    }
  }, true);
  // other fields belong to another choice: the server draws them
  form.addEventListener("change", (event) => { if (event.target.matches("[data-submit]")) form.requestSubmit(); });
})();
