// What a person does in the console, one after the other; the answer is what each took, in milliseconds.
const $ = (s) => document.querySelector(s)
const all = (s) => [...document.querySelectorAll(s)]
const until = (what, is) =>
  new Promise((ok, no) => {
    const begun = performance.now()
    const look = () => {
      if (is()) requestAnimationFrame(() => ok()) // it is drawn with the next frame
      else if (performance.now() - begun > 20000) no(new Error(`${what}: not after 20 s, at ${location.href}: ${document.body.innerText.slice(0, 300)}`))
      else setTimeout(look, 1)
    }
    look()
  })
const out = []
const take = async (name, act, is) => {
  await new Promise((go) => setTimeout(go, 300)) // what goes on from before is over
  const begun = performance.now()
  act()
  await until(name, is)
  out.push({ name, ms: performance.now() - begun })
}
const go = (label) => () => all('nav a, [aria-label=Main] a').find((a) => a.textContent.trim().startsWith(label)).click()
const type = (label, text) => () => {
  const field = $(`input[aria-label="${label}"]`)
  Object.getOwnPropertyDescriptor(HTMLInputElement.prototype, 'value').set.call(field, text)
  field.dispatchEvent(new Event('input', { bubbles: true }))
}
const rows = () => all('.line[role=row] a').map((a) => a.textContent)
const lines = () => all('.rows > div').map((d) => d.textContent)
const calm = () => !all('[role=status]').some((s) => s.textContent.includes('Looking'))
const header = (text) => all('[role=columnheader] button').find((b) => b.textContent.trim().startsWith(text))

await take('identities', go('Identities'), () => rows().length > 10)
await take('search', type('Search identities', 'mail-eu-00000'), () => calm() && rows().length > 0 && rows().every((r) => r.startsWith('mail-eu-00000')))
await take('search_purpose', type('Search identities', 'customer 2 asks'), () => calm() && rows().some((r) => r.includes('000002')) && rows().every((r) => r.endsWith('2')))
await take('search_nothing', type('Search identities', 'zzzz'), () => document.body.innerText.includes('Nothing matches'))
await take('search_cleared', type('Search identities', ''), () => calm() && rows().length > 10)
await take('sort', () => header('Expires').click(), () => calm() && header('Expires').closest('[aria-sort]').getAttribute('aria-sort') === 'ascending' && rows().length > 10)
const name = 'report-eu-000013'
await take('find_one', type('Search identities', name), () => calm() && rows()[0] === name)
await take('identity', () => all('.line[role=row] a')[0].click(), () => $('h1')?.textContent === name)
await take('timeline', () => all('[role=tab]').find((t) => t.textContent.includes('did')).click(), () => document.body.innerText.includes('The last of them'))
await take('ledger', go('Ledger'), () => lines().length > 20 && location.pathname.endsWith('/ledger'))
await take('ledger_identity', type('Identity', name), () => lines().length > 0 && lines().every((l) => l.includes(name)))
await take('ledger_identity_nobody', type('Identity', 'nobody-at-all'), () => document.body.innerText.includes('Nothing on record fits'))
await take('ledger_cleared', type('Identity', ''), () => lines().length > 20)
await take('ledger_text', type('Anything', 'of nothing in it'), () => /Nothing (on record|so far)/.test(document.body.innerText))
await take('ledger_text_cleared', type('Anything', ''), () => lines().length > 20)
await take('owners', go('Owners'), () => document.body.innerText.includes('Owner 1'))
await take('home', go('Home'), () => all('.tiles .n').length > 3)
return JSON.stringify(out)
