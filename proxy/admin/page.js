"use strict";
// Keeps the page current: fetches it again and takes over what it says. Rests
// while nobody looks, and while a text is selected, so that it can be copied.
const again = async () => {
  if (!document.hidden && !String(getSelection())) {
    try {
      // Not a relative URL: that would keep a password typed into the address.
      const res = await fetch(location.origin + location.pathname);
      if (!res.ok) throw new Error(res.status);
      const next = new DOMParser().parseFromString(await res.text(), "text/html");
      document.querySelector("main").replaceWith(next.querySelector("main"));
      document.title = next.title;
      document.body.className = "";
    } catch {
      document.body.className = "gone";
    }
  }
  setTimeout(again, 2000);
};
setTimeout(again, 2000);
