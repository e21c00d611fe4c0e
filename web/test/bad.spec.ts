import { evil, expect, signIn, test, World } from './world'

// What goes wrong, and what others try.

test('a session that ends in the midst of a form: the form stays, and goes on', async ({ page, world, context }) => {
  await signIn(page, world, 'maya', 'new?way=key')
  const name = `late-${test.info().project.name}`
  await page.getByLabel('Name', { exact: false }).first().fill(name)
  await page.getByLabel('Purpose').fill('Comes late')
  await context.clearCookies()
  await page.getByRole('button', { name: 'Make it' }).click()
  await expect(page.getByText('Your session has ended')).toBeVisible()
  const [other] = await Promise.all([context.waitForEvent('page'), page.getByRole('link', { name: 'Sign in' }).click()])
  await other.getByLabel('Sign-in code').fill(world.code('maya'))
  await other.getByRole('button', { name: 'Sign in with the code' }).click()
  await expect(page.getByText('Your session has ended')).toHaveCount(0)
  await expect(page.getByRole('region', { name: 'How does it prove that?' })).toBeVisible()
})

test('the control plane is away: what is there stays and says so, and it comes back', async ({ page, world }) => {
  await signIn(page, world, 'maya', 'identities/invoice-bot')
  await expect(page.getByText('is an agent of Maya Lind')).toBeVisible()
  await page.route('**/v1/**', (r) => r.abort())
  await page.getByRole('tab', { name: 'History' }).click()
  await expect(page.getByText('The control plane is away')).toBeVisible()
  await expect(page.getByText('The control plane does not answer.')).toBeVisible()
  await expect(page.getByText('is an agent of Maya Lind')).toBeVisible()
  await expect(page.getByRole('button', { name: 'Try again' }).first()).toBeVisible()
  await page.unroute('**/v1/**') // and it is seen without asking again
  await expect(page.getByText('registered invoice-bot')).toBeVisible()
  await expect(page.getByText('The control plane does not answer.')).toHaveCount(0)
})

test('the control plane goes away in the midst of a form, and comes back by itself: nothing is lost, nothing is asked again', async ({ page, world }) => {
  const w = new World()
  try {
    await w.start()
    world.others.push(w.control)
    await signIn(page, w, 'maya', 'new?way=key')
    await page.getByLabel('Name', { exact: false }).first().fill('patient')
    await page.getByLabel('Purpose').fill('Waits')
    const back = await w.away()
    await page.getByRole('button', { name: 'Make it' }).click()
    await expect(page.getByText('The control plane does not answer.')).toBeVisible()
    await expect(page.getByLabel('Purpose')).toHaveValue('Waits')
    await back()
    await expect(page.getByText('The control plane does not answer.')).toHaveCount(0)
    await page.getByRole('button', { name: 'Make it' }).click()
    await expect(page.getByRole('region', { name: 'How does it prove that?' })).toBeVisible()
  } finally {
    await page.close() // it may be about to ask for a picture still
    world.others = []
    await w.stop()
  }
})

test('ten thousand characters, and from right to left, in whatever others name: every list and page stays as wide as the screen, and can be used', async ({ page, world }) => {
  test.skip(test.info().project.name !== 'phone', 'the narrowest screen is what it is about')
  test.setTimeout(120_000)
  world.ask('Long', 'invoice-bot')
  await signIn(page, world)
  const longs = new Set(['name', 'owner_name', 'purpose', 'summary', 'description', 'why', 'who', 'email', 'status_detail', 'resource', 'action', 'note', 'url', 'audience', 'label', 'reason', 'backup', 'label', 'text', 'operation'])
  let turn = 0
  const lengthen = (v: unknown): unknown =>
    Array.isArray(v) ? v.map(lengthen)
    : v && typeof v === 'object' ? Object.fromEntries(Object.entries(v).map(([k, x]) => [k, typeof x === 'string' && longs.has(k) && x ? `${turn} ${turn++ % 2 ? 'x'.repeat(10_000) : 'של'.repeat(5_000)}` : lengthen(x)]))
    : v
  const id = (await page.evaluate(async () => (await (await fetch('../v1/approvals?state=waiting')).json()) as { items: { id: string }[] })).items[0]!.id
  await page.route('**/v1/**', async (r) => {
    if (r.request().url().includes('/stream')) return r.abort()
    const reply = await r.fetch().catch(() => undefined)
    if (!reply) return
    if (!reply.headers()['content-type']?.includes('json')) return r.fulfill({ response: reply })
    const body = (await reply.json().catch(() => undefined)) as Record<string, unknown> | undefined
    if (!body) return // the page has gone on
    await r.fulfill({ response: reply, json: r.request().url().includes('/me') ? { ...body, name: 'ש'.repeat(10_000) } : lengthen(body) })
  })
  for (const path of ['', 'identities', 'identities/invoice-bot', 'identities/invoice-bot?tab=did', 'identities/invoice-bot?tab=history', 'identities/invoice-bot?tab=chain', 'approvals', `approvals/${id}`, 'policy', 'policy?tab=grants', 'policy?tab=grants&edit=invoice-bot/read-mail', 'ledger', 'upstreams', 'upstreams/mail', 'owners', 'owners/maya', 'gateways', 'me', '?cord=choose', 'identities/invoice-bot?cord=identity:invoice-bot']) {
    await page.goto(`${world.control}/console/${path}`)
    await expect(page.locator('main#main')).toBeVisible()
    await expect(page.locator('[aria-label=Loading]'), path).toHaveCount(0)
    const { over, high } = await page.evaluate(() => ({ over: document.documentElement.scrollWidth - document.documentElement.clientWidth, high: document.documentElement.scrollHeight / innerHeight }))
    expect(over, `${path} is wider than the screen`).toBeLessThanOrEqual(0)
    expect(high, `${path} is ${high} screens high`).toBeLessThan(20)
    await expect(page.getByRole('button', { name: 'Pull the cord' }).first(), path).toBeVisible()
    if (process.env.LANYARD_PICTURES) await page.screenshot({ path: `${process.env.LANYARD_PICTURES}/long-${path.replace(/[^a-z]+/g, '-')}-${test.info().project.name}.png` })
  }
})

test.describe('in another zone', () => {
  test.use({ timezoneId: 'Asia/Tokyo', locale: 'en-GB' })
  test('times are said in the zone of who looks, and hovering gives the exact instant', async ({ page, world }) => {
    await signIn(page, world, 'maya', 'ledger?type=request')
    await page.locator('.rows a.link[href*="ledger/"]').first().click()
    await expect(page.getByText('As it is recorded')).toBeVisible()
    const time = page.locator('dt', { hasText: 'When' }).locator('xpath=following-sibling::dd').locator('time').first()
    const at = new Date((await time.getAttribute('dateTime'))!)
    expect(await time.textContent()).toContain(at.toLocaleTimeString('en-GB', { timeZone: 'Asia/Tokyo' }))
    await time.hover()
    await expect(page.getByRole('tooltip')).toContainText(/Asia\/Tokyo · \d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z/)
  })
})

test('an owner sees what is theirs, an auditor changes nothing, and the API says so', async ({ page, world }) => {
  await signIn(page, world, 'ben', 'identities')
  await expect(page.getByRole('link', { name: 'support-helper' })).toBeVisible()
  await expect(page.getByRole('link', { name: 'invoice-bot' })).toHaveCount(0)
  // The menu does not lead to what they may not see; on a phone it is closed.
  const menu = page.getByRole('navigation', { name: 'Main', includeHidden: true })
  await expect(menu.getByRole('link', { name: 'Ledger', includeHidden: true })).toHaveCount(1)
  await expect(menu.getByRole('link', { name: 'Gateways', includeHidden: true })).toHaveCount(0)
  await page.goto(`${world.control}/console/identities/invoice-bot`)
  await expect(page.getByText('There is no such thing, or it is not yours to see')).toBeVisible()
  await page.goto(`${world.control}/console/gateways`)
  await expect(page.getByText('This is not yours to see')).toBeVisible()
  await page.context().clearCookies()
  await signIn(page, world, 'kim', 'identities/invoice-bot')
  await expect(page.getByText('is an agent of Maya Lind')).toBeVisible()
  await expect(page.getByRole('button', { name: 'Change' })).toHaveCount(0)
  await page.goto(`${world.control}/console/policy?tab=guardrails&edit=no-mail-rules`)
  await expect(page.getByText('You may look at this, and not change it.')).toBeVisible()
  await expect(page.getByRole('button', { name: 'Save' })).toBeDisabled()
  const status = await page.evaluate(async (url) => (await fetch(url, { method: 'POST', headers: { 'Content-Type': 'application/json' }, body: '{"reason":"no"}' })).status, `${world.control}/v1/identities/invoice-bot/suspend`)
  expect(status).toBe(403)
})

test('what agents and upstreams write is text and nothing else, also long, and from right to left', async ({ page, world }) => {
  world.ask(evil, 'evil-bot')
  const rtl = `\u202Egnp.exe ${'ש'.repeat(40)}`
  const long = 'x'.repeat(480)
  const ask = (name: string, purpose: string) => world.lanyard('identity', 'register', name, '--owner', 'kim', '--purpose', purpose)
  ask(`rtl-${test.info().project.name}`, rtl)
  ask(`long-${test.info().project.name}`, long)
  await signIn(page, world)
  await expect(page.getByText('Live activity')).toBeVisible()
  await page.goto(`${world.control}/console/identities/evil-bot`)
  await expect(page.getByText(evil).first()).toBeVisible()
  await page.getByRole('tab', { name: 'What it did' }).click()
  await page.goto(`${world.control}/console/identities/rtl-${test.info().project.name}`)
  await expect(page.getByText('[U+202E]').first()).toBeVisible()
  await page.goto(`${world.control}/console/identities?q=long`)
  const wide = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth)
  expect(wide, 'the page is not wider than the screen').toBeLessThanOrEqual(0)
  await page.goto(`${world.control}/console/approvals`)
  await page.getByRole('link', { name: /evil-bot wants to/ }).first().click()
  await expect(page.getByRole('region', { name: 'The request' })).toContainText('<img src=x onerror=')
  await expect(page.getByRole('region', { name: /message.raw says/ })).toContainText(evil)
  await page.goto(`${world.control}/console/ledger?text=onerror`)
  await expect(page.getByRole('heading', { name: 'Ledger' })).toBeVisible()
  await page.goto(`${world.control}/console/owners/kim`)
  await expect(page.getByText(evil).first()).toBeVisible()
  await page.goto(`${world.control}/console/upstreams/notes?tab=offer`)
  await expect(page.getByText('read_note').first()).toBeVisible()
})

test('below a path: the console is where the proxy puts it, and asks for nothing beside that', async ({ browser }) => {
  const w = new World()
  try {
    await w.start('/below')
    const page = await (await browser.newContext()).newPage()
    const beside: string[] = []
    // Where the server leads after a code is its own URL, which has no path here; the page does not go there.
    page.on('request', (r) => void (r.url().startsWith(w.control + '/') || r.redirectedFrom() || beside.push(r.url())))
    await signIn(page, w, 'maya', 'identities?state=active')
    await expect(page).toHaveURL(`${w.control}/console/identities?state=active`)
    await page.getByRole('link', { name: 'invoice-bot', exact: true }).click()
    await page.reload()
    await expect(page.getByText('is an agent of Maya Lind')).toBeVisible()
    await page.getByRole('button', { name: /your menu/ }).click()
    await page.getByRole('menuitem', { name: 'Sign out', exact: true }).click()
    await expect(page).toHaveURL(`${w.control}/console/sign-in`)
    expect(beside).toEqual([])
  } finally {
    await w.stop()
  }
})

test('by keyboard alone: to the page, through the list, to the cord and back', async ({ page, world }) => {
  test.skip(test.info().project.name === 'phone', 'a phone has none')
  await signIn(page, world, 'maya', 'identities')
  await expect(page.getByRole('link', { name: 'invoice-bot', exact: true })).toBeVisible()
  await page.keyboard.press('Tab')
  await expect(page.getByText('Skip to the page')).toBeFocused()
  await page.keyboard.press('Enter')
  await expect(page.locator('#main')).toBeFocused()
  for (let n = 0; n < 40; n++) {
    await page.keyboard.press('Tab')
    if (await page.getByRole('link', { name: 'invoice-bot', exact: true }).evaluate((e) => e === document.activeElement)) break
  }
  await page.keyboard.press('Enter')
  await expect(page.getByRole('heading', { name: 'invoice-bot', exact: true })).toBeVisible()
  await page.getByRole('button', { name: 'Pull the cord' }).focus()
  await page.keyboard.press('Enter')
  await expect(page.getByLabel('Why?')).toBeFocused()
  await page.keyboard.press('Escape')
  await expect(page.getByRole('dialog')).toHaveCount(0)
})
