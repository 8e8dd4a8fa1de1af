// before anything is drawn, or a dark page would flash
try {
  const chosen = localStorage.getItem("valhalla.theme");
  if (chosen === "dark" || chosen === "light") document.documentElement.dataset.theme = chosen;
} catch { /* storage is closed: the system's choice holds */ }
