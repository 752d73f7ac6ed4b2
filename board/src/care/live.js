(function () {
  'use strict';
  var data = document.body.dataset;
  var headline = document.getElementById('headline');
  var live = document.getElementById('live');
  var seen = document.getElementById('seen');
  var mark = data.mark, over = data.over === '1', heardAt = Date.now(), lost = false;
  var source = null, timer = 0, waitS = 5;
  if (!live || !seen) return;

  // In the site's time zone, as all times of the page; in the telephone's own if it does not know that zone.
  function clock(time) {
    var language = document.documentElement.lang, form = { hour12: false, timeZone: data.zone };
    try { return time.toLocaleTimeString(language, form); } catch (unknown) { form.timeZone = undefined; }
    return time.toLocaleTimeString(language, form);
  }
  function draw() {
    var words = lost ? data.lost : over ? data.asOf : data.connected;
    var text = words.replace('{time}', clock(new Date(heardAt)));
    if (seen.textContent !== text) seen.textContent = text;
    seen.className = lost ? 'lost' : '';
  }
  function heard() { heardAt = Date.now(); lost = false; waitS = 5; draw(); }
  function show(state) {
    if (state.mark !== mark) {
      mark = state.mark;
      if (headline.textContent !== state.headline) headline.textContent = state.headline;
      live.innerHTML = state.html;
    }
    over = state.over;
    heard();
    if (over) stop();
  }
  function stop() {
    clearTimeout(timer); timer = 0;
    if (source) { source.close(); source = null; }
  }
  function later() {
    clearTimeout(timer);
    timer = setTimeout(poll, waitS * 1000 * (0.75 + Math.random() / 2));
    waitS = Math.min(waitS * 2, 60);
  }
  function fail() { lost = true; draw(); stop(); later(); }
  function poll() {
    stop();
    fetch(data.state, { cache: 'no-store', credentials: 'omit' }).then(function (answer) {
      if (answer.status === 404) { location.reload(); return; }
      if (!answer.ok) throw new Error('answer');
      return answer.json().then(function (state) { show(state); if (!over) listen(); });
    }).catch(fail);
  }
  function listen() {
    stop();
    if (!window.EventSource) { waitS = 5; later(); return; }
    source = new EventSource(data.stream);
    source.addEventListener('state', function (event) { show(JSON.parse(event.data)); });
    source.addEventListener('ping', heard);
    source.addEventListener('gone', function () { stop(); location.reload(); });
    source.onerror = fail;
  }
  setInterval(function () {
    if (!over && Date.now() - heardAt > 40000 && !lost) fail();
  }, 5000);
  window.addEventListener('online', function () { if (!over) poll(); });
  window.addEventListener('offline', function () { lost = true; draw(); });
  document.addEventListener('visibilitychange', function () {
    if (!document.hidden && !over && Date.now() - heardAt > 20000) poll();
  });
  draw();
  if (!over) listen();
})();
