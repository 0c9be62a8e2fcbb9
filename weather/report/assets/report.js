"use strict";
(() => {
  const all = (where, what) => [...where.querySelectorAll(what)];
  document.documentElement.classList.add("live");

  for (const section of all(document, ".tabs")) {
    // Tabs within a panel belong to the section there.
    const own = (element) => element.closest(".tabs") === section;
    const buttons = all(section, "[role=tab]").filter(own);
    const choose = (chosen) => {
      for (const button of buttons) {
        const on = button === chosen;
        button.setAttribute("aria-selected", String(on));
        button.tabIndex = on ? 0 : -1;
        document.getElementById(button.dataset.panel).hidden = !on;
      }
    };
    buttons.forEach((button, i) => {
      button.addEventListener("click", () => choose(button));
      button.addEventListener("keydown", (event) => {
        const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
        if (!step) return;
        const next = buttons[(i + step + buttons.length) % buttons.length];
        choose(next);
        next.focus();
      });
    });
    if (buttons.length) choose(buttons[0]);

    const frames = all(section, ".frame").filter(own);
    if (!frames.length) continue;
    const slider = all(section, "input[type=range]").filter(own)[0];
    const name = all(section, "output").filter(own)[0];
    const show = (lead) => {
      for (const frame of frames) {
        frame.hidden = frame.dataset.lead !== lead;
        if (!frame.hidden && name) name.textContent = frame.dataset.name;
      }
    };
    if (slider) slider.addEventListener("input", () => show(slider.value));
    show("0");
  }
  document.documentElement.dataset.ready = "yes";
})();
