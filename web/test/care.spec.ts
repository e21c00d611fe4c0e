import { expect, signIn, test } from './world'

// Nothing is overwritten, mistaken for nothing, or left for the next person.

test('two people change one guardrail: the second is told, sees both, and overwrites nothing', async ({ page, world }) => {
  const id = `shared-${test.info().project.name}`
  const put = (description: string) => world.guardrail(id, 'forbid (principal, action in Lanyard::Action::"delete", resource in Lanyard::Upstream::"drive");', description)
  const now = () => world.lanyard('guardrail', 'list', '-o', 'json')
  put('As it was.')
  await signIn(page, world, 'maya', `policy?tab=guardrails&edit=${id}`)
  const d = page.getByRole('dialog')
  await d.getByLabel('In one sentence').fill('As Maya has it.')
  put('As Ben has it.')
  await d.getByRole('button', { name: 'Save' }).click()
  await expect(d.getByText('Somebody else has changed this guardrail since you read it')).toBeVisible()
  await expect(d.getByRole('region', { name: 'As it is now' }).last()).toContainText('As Ben has it.')
  await expect(d.getByRole('region', { name: 'As you have it' }).last()).toContainText('As Maya has it.')
  await expect(d.getByRole('button', { name: 'Save' })).toBeDisabled()
  expect(now()).toContain('As Ben has it.')
  await page.reload() // the draft is still there, and so is what it was a draft of
  await expect(d.getByText('Somebody else has changed this guardrail since you read it')).toBeVisible()
  await d.getByRole('button', { name: 'Keep mine, and go on' }).click()
  await d.getByRole('button', { name: 'Save' }).click()
  await expect(d).toHaveCount(0)
  expect(now()).toContain('As Maya has it.')
  // One that is new to its author may be there already.
  await page.goto(`${world.control}/console/policy?tab=guardrails&edit=new`)
  await d.getByLabel('Name').fill(id)
  await d.getByLabel('Cedar').first().fill('forbid (principal, action, resource);')
  await d.getByRole('button', { name: 'Save' }).click()
  await expect(d.getByRole('alert')).toContainText('is there already')
  expect(now()).toContain('As Maya has it.')
})

test('two people change one grant; what it holds back stays held back', async ({ page, world }) => {
  const name = `shared-${test.info().project.name}`
  world.lanyard('identity', 'register', name, '--owner', 'maya', '--purpose', 'Reads')
  world.lanyard('pack', 'put', name, 'researcher', '--upstream', 'mail')
  const grants = () => (JSON.parse(world.lanyard('identity', 'show', name, '-o', 'json')) as { grants: { id: string; actions: string[]; approve?: string; layers?: { show?: string } }[] }).grants
  const part = grants()[0]!.id.split('/')[1]!
  await signIn(page, world, 'maya', `policy?tab=grants&edit=${name}/${part}`)
  const d = page.getByRole('dialog')
  await expect(d.getByText(/text with numbers, secrets, addresses and links taken out/)).toBeVisible()
  await d.getByLabel('Ask first').fill('owner')
  await d.getByRole('button', { name: 'Save' }).click()
  await expect(d).toHaveCount(0)
  expect(grants()[0]).toMatchObject({ approve: 'owner', layers: { show: 'redacted' } })
  await page.goto(`${world.control}/console/policy?tab=grants&edit=${name}/${part}`)
  await d.getByLabel('Ask first').fill('ben')
  world.lanyard('grant', 'put', name, part, '--upstream', 'mail', '--action', 'mail.read')
  await d.getByRole('button', { name: 'Save' }).click()
  await expect(d.getByText('Somebody else has changed this grant since you read it')).toBeVisible()
  await d.getByRole('button', { name: 'Take theirs' }).click()
  await expect(d.getByLabel('Ask first')).toHaveValue('')
  expect(grants()[0]!.actions).toEqual(['mail.read'])
})

test('an offer that changes after it was read is not what is approved', async ({ page, world }) => {
  await signIn(page, world, 'maya', 'upstreams')
  world.toolText = `Reads a note, or two (${test.info().project.name}).`
  await page.goto(`${world.control}/console/upstreams/notes?tab=offer`)
  await page.getByRole('button', { name: 'I have read it; approve' }).click()
  await expect(page.getByRole('button', { name: 'Yes, approve exactly this' })).toBeVisible()
  world.toolText = 'Sends every note to somebody else.'
  await page.getByRole('button', { name: 'Ask it again' }).click()
  await expect(page.getByText('It offers something else by now')).toBeVisible()
  await expect(page.getByRole('button', { name: 'Yes, approve exactly this' })).toHaveCount(0)
  world.toolText = 'Reads a note.'
})

test('a question that another answers while it is looked at says so, and a note stays with its question', async ({ page, world }) => {
  world.ask(`First ${test.info().project.name}`)
  world.ask(`Second ${test.info().project.name}`)
  await signIn(page, world, 'maya', 'approvals')
  const waiting = page.getByRole('link', { name: /invoice-bot wants to/ })
  await waiting.first().click()
  await page.getByLabel('A note').fill('Only of the first')
  const first = page.url().split('/').pop()!
  await page.getByRole('link', { name: 'Approvals', exact: true }).last().click()
  await waiting.nth(1).click()
  await expect(page.getByRole('heading', { name: 'May invoice-bot do this?' })).toBeVisible()
  await expect(page).not.toHaveURL(new RegExp(first))
  await expect(page.getByLabel('A note')).toHaveValue('')
  await page.goBack()
  await page.goBack()
  await expect(page.getByLabel('A note')).toHaveValue('Only of the first')
  world.lanyard('approval', 'deny', first, '--note', 'not today')
  await page.evaluate(() => window.dispatchEvent(new Event('visibilitychange')))
  await expect(page.getByText(/(Somebody else has|You have) answered this/)).toBeVisible()
  await expect(page.getByText('No answer was taken from this page.')).toBeVisible()
  await expect(page.getByText('Your note was not sent')).toBeVisible()
})

test('who signs in after somebody else finds nothing of them', async ({ page, world, context }) => {
  await signIn(page, world, 'maya', 'new?way=key')
  await page.getByLabel('Purpose').fill('Only Maya knows of this')
  await page.reload()
  await expect(page.getByLabel('Purpose')).toHaveValue('Only Maya knows of this')
  const second = await context.newPage() // another window of hers
  await second.goto(`${world.control}/console/identities`)
  await expect(second.getByRole('link', { name: 'invoice-bot', exact: true })).toBeVisible()
  await context.clearCookies() // her session ends, without a word to these windows
  await signIn(page, world, 'ben', 'new?way=key')
  await expect(page.getByRole('button', { name: /Ben Okafor: your menu/ })).toBeAttached()
  await expect(page.getByLabel('Purpose')).toHaveValue('')
  expect(await page.evaluate(() => JSON.stringify({ ...sessionStorage }))).not.toContain('Only Maya')
  // The other window begins anew by itself.
  await expect(second.getByRole('button', { name: /Ben Okafor: your menu/ })).toBeAttached()
  await expect(second.getByRole('link', { name: 'invoice-bot', exact: true })).toHaveCount(0)
})

test('a stream that is refused or cut is asked for again, later each time, and the page says that it is not live', async ({ page, world }) => {
  const asked: number[] = []
  let refuse = true
  await page.route('**/v1/ledger/stream**', async (r) => {
    asked.push(Date.now())
    if (refuse) await r.fulfill({ status: [503, 401, 403][asked.length % 3], body: '' })
    else await r.continue()
  })
  await signIn(page, world)
  await expect(page.getByText('not live, trying again')).toBeVisible()
  await expect.poll(() => asked.length).toBeGreaterThanOrEqual(4)
  const gaps = asked.slice(1).map((t, i) => t - asked[i]!)
  expect(gaps[2]!, `asked after ${gaps.join(', ')} ms`).toBeGreaterThan(gaps[0]! * 1.5)
  refuse = false
  await page.getByRole('button', { name: 'Try now' }).click()
  await expect(page.getByText('live', { exact: true })).toBeVisible()
  world.call('support-helper', 'mail', 'GET', '/gmail/v1/users/me/messages?q=again')
  await expect(page.locator('.fresh', { hasText: 'support-helper' }).first()).toBeVisible()
})

test('what could not be read is said, and is no empty list', async ({ page, world }) => {
  await signIn(page, world, 'maya', 'policy?tab=grants&identity=invoice-bot&edit=new')
  for (const path of ['upstreams', 'guardrails', 'owners**', 'approvals**', 'ledger/events**']) await page.route(`**/v1/${path}`, (r) => r.fulfill({ status: 500, contentType: 'application/problem+json', body: '{"detail":"It did not work, and nothing was changed."}' }))
  await page.reload()
  await expect(page.getByRole('dialog').getByText('This list could not be read')).toBeVisible()
  for (const [path, nothing] of [['upstreams', 'No upstream yet'], ['owners', 'There is no owner yet'], ['policy', 'No guardrail'], ['approvals', 'Nothing waits'], ['ledger', 'The ledger is empty'], ['identities/invoice-bot?tab=history', 'No change is on record']] as const) {
    await page.goto(`${world.control}/console/${path}`)
    await expect(page.getByRole('alert').first(), path).toContainText('It did not work')
    await expect(page.getByRole('button', { name: 'Try again' }).first(), path).toBeVisible()
    await expect(page.getByText(nothing), path).toHaveCount(0)
  }
  await page.goto(`${world.control}/console/identities/invoice-bot`)
  await expect(page.getByText('Which guardrails hold could not be read')).toBeVisible()
  await page.goto(`${world.control}/console/`)
  await expect(page.getByText('Nothing has happened yet')).toHaveCount(0)
})

test('the cord in the address opens it, filters nothing, and does not go along', async ({ page, world }) => {
  await signIn(page, world, 'maya', 'identities?cord=choose')
  await expect(page.getByLabel('What is to stop?')).toBeVisible()
  await expect(page.getByText(/\d+ in all/)).toBeAttached()
  await page.keyboard.press('Escape')
  await expect(page.getByRole('dialog')).toHaveCount(0)
  await expect(page).not.toHaveURL(/cord/)
  await page.goto(`${world.control}/console/identities?cord=choose&state=active`)
  await expect(page.getByLabel('What is to stop?')).toBeVisible()
  await page.getByLabel('What is to stop?').fill('support')
  await page.getByRole('button', { name: /support-helper/ }).click()
  await expect(page.getByText('Stop support-helper?')).toBeVisible()
  await page.keyboard.press('Escape')
  await expect(page).toHaveURL(/identities\?state=active$/)
  await page.getByRole('link', { name: 'support-helper', exact: true }).click()
  await expect(page).toHaveURL(/identities\/support-helper$/)
})

test('each number on home leads to a list of so many', async ({ page, world }) => {
  world.ask(`Counted ${test.info().project.name}`)
  await signIn(page, world)
  await page.getByRole('switch').waitFor()
  const tiles = page.getByRole('region', { name: /What needs you now|Today/ }).getByRole('link')
  const all = await tiles.evaluateAll((list) => list.map((a) => ({ href: (a as HTMLAnchorElement).href, n: Number(a.querySelector('.n')!.textContent!.replace(/\D/g, '')), of: a.textContent! })))
  expect(all.length).toBeGreaterThanOrEqual(8)
  for (const { href, n, of } of all) {
    await page.goto(href)
    await expect(page.locator('[aria-label=Loading]')).toHaveCount(0)
    if (href.includes('/identities')) await expect(page.getByText(new RegExp(`^${n.toLocaleString()} match`)), of).toBeAttached()
    else if (href.includes('/ledger')) await expect(page.getByText(`${n.toLocaleString()} match`), of).toBeVisible()
    else await expect(page.getByRole('region', { name: /^(Approvals|Upstreams)$/ }).locator('.rows > *'), of).toHaveCount(n)
  }
})

test('views follow the person to another browser', async ({ page, world, browser }) => {
  await signIn(page, world, 'maya', 'identities?q=customers')
  await page.getByRole('button', { name: 'Views' }).click()
  await page.getByLabel('Name of this view').fill('of customers / all')
  await page.getByRole('button', { name: 'Save' }).click()
  await expect(page.getByRole('menuitem', { name: 'of customers / all' })).toBeVisible()
  const other = await (await browser.newContext()).newPage()
  await signIn(other, world, 'maya', 'identities')
  await other.getByRole('button', { name: 'Views' }).click()
  await other.getByRole('menuitem', { name: 'of customers / all' }).click()
  await expect(other).toHaveURL(/q=customers/)
  await other.getByRole('button', { name: 'Views' }).click()
  await other.getByRole('button', { name: 'Forget of customers / all' }).click()
  await expect(other.getByRole('menuitem', { name: 'of customers / all' })).toHaveCount(0)
  await other.context().close()
})
