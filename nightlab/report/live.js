// Renews the page: served, it fetches itself and puts the new parts in place; opened as a file,
// which may fetch nothing, it loads again.
(function () {
  const soon = 2000, later = 5000;
  let shown = null, missed = 0;

  function keepPlace(renew) {
    const open = [...document.querySelectorAll("details[id]")].map((each) => [each.id, each.open]);
    const moved = [...document.querySelectorAll(".scroll")].map((each) => each.scrollLeft);
    renew();
    for (const [id, isOpen] of open) {
      const found = document.getElementById(id);
      if (found) found.open = isOpen;
    }
    document.querySelectorAll(".scroll").forEach((each, index) => {
      each.scrollLeft = moved[index] || 0;
    });
  }

  async function again() {
    try {
      const answer = await fetch(location.href, { cache: "no-cache" });
      if (!answer.ok) throw new Error(answer.statusText);
      const text = await answer.text();
      missed = 0;
      if (text !== shown && getSelection().isCollapsed) {
        shown = text;
        const page = new DOMParser().parseFromString(text, "text/html");
        keepPlace(() => document.querySelector("main").replaceWith(page.querySelector("main")));
        if (!document.getElementById("under-way")) return; // the session has ended
      }
    } catch (error) {
      missed += 1;
      const written = document.getElementById("written");
      if (missed > 2 && written) {
        written.textContent = "The session has ended, or was stopped: this is what it showed last.";
      }
    }
    setTimeout(again, missed ? later : soon);
  }

  if (location.protocol.startsWith("http")) setTimeout(again, soon);
  else setTimeout(() => location.reload(), later);
})();
