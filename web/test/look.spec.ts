import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import type { Page } from '@playwright/test'
import { expect, signIn, test } from './world'

// Every page, light and dark, wide and narrow: axe finds nothing serious, nothing is wider than the screen, and there is a
// picture of it in $LANYARD_PICTURES, if that is set.
const axe = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8')
type Found = { violations: { id: string; impact: string; help: string; nodes: { html: string; failureSummary: string }[] }[] }

const pages = [
  '', 'identities', 'identities/invoice-bot', 'identities/invoice-bot?tab=did', 'identities/invoice-bot?tab=chain', 'identities/invoice-bot?tab=credentials', 'identities/invoice-bot?tab=history',
  'identities/invoice-bot?cord=identity:invoice-bot', '?cord=choose', 'new', 'new?way=key', 'new?way=mcp', 'new?way=import', 'approvals', 'APPROVAL', 'policy', 'policy?tab=grants', 'policy?tab=grants&edit=invoice-bot/read-mail',
  'policy?tab=guardrails&edit=no-mail-rules', 'policy?tab=try', 'ledger', 'EVENT', 'upstreams', 'upstreams/mail', 'upstreams/notes?tab=offer', 'owners', 'owners/maya', 'gateways', 'me', 'nowhere',
]

/** lens is what looks at a page; wrong is what it found. */
const lens = (page: Page) => {
  const dir = process.env.LANYARD_PICTURES
  const project = test.info().project.name
  const wrong: string[] = []
  const only = ['desktop', 'phone'].includes(project) ? {} : { runOnly: ['color-contrast'] } // the other colours of the same pages
  return {
    wrong,
    look: async (name: string) => {
      await page.evaluate(axe)
      const found = (await page.evaluate((only) => (window as unknown as { axe: { run: (o: unknown) => Promise<unknown> } }).axe.run({ resultTypes: ['violations'], ...only }), only)) as Found
      for (const v of found.violations.filter((v) => v.impact === 'serious' || v.impact === 'critical'))
        for (const n of v.nodes.slice(0, 3)) wrong.push(`${name}: ${v.id}: ${n.html.slice(0, 160)} ${n.failureSummary.split('\n').slice(1, 2).join(' ').slice(0, 200)}`)
      const over = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth)
      if (over > 0) wrong.push(`${name}: ${over} pixels wider than the screen`)
      if (dir) await page.screenshot({ path: `${dir}/${name.replace(/[^a-z0-9]+/gi, '-').replace(/^-|-$/g, '') || 'home'}-${project}.png` })
    },
  }
}

test('every page', async ({ page, world }) => {
  test.setTimeout(300_000)
  const { wrong, look } = lens(page)
  world.ask('Friday it is')
  await page.goto(`${world.control}/console/`)
  await expect(page.getByLabel('Sign-in code')).toBeVisible()
  await look('sign-in')
  await signIn(page, world)
  for (const path of pages) {
    let to = path
    if (path === 'APPROVAL') {
      await page.goto(`${world.control}/console/approvals`)
      to = 'approvals/' + (await page.getByRole('link', { name: /wants to/ }).first().getAttribute('href'))!.split('/').pop()!
    } else if (path === 'EVENT') {
      await page.goto(`${world.control}/console/ledger?type=request`)
      to = 'ledger/' + (await page.locator('.rows a.link[href*="ledger/"]').first().getAttribute('href'))!.split('/').pop()!
    }
    await page.goto(`${world.control}/console/${to}`)
    await expect(page.locator('main#main')).toBeVisible()
    await expect(page.locator('[aria-label=Loading]'), to).toHaveCount(0)
    await page.waitForTimeout(60) // what comes in has come
    await look(path || 'home')
  }
  expect(wrong).toEqual([])
})

test('every page that needs no script', async ({ page, world }) => {
  test.setTimeout(120_000)
  const { wrong, look } = lens(page)
  world.ask('Friday it is')
  const task = await world.task('maya', `Finds the invoice of the dentist, and ${'tells '.repeat(30)}`)
  await page.goto(`${world.control}/signin`)
  await look('page-signin')
  await signIn(page, world)
  const id = (await page.evaluate(async () => (await (await fetch('../v1/approvals?state=waiting')).json()) as { items: { id: string }[] })).items[0]!.id
  for (const [name, url] of [
    ['inbox', '/approvals'], ['approval', `/approvals/${id}`], ['task', `/approvals/${task}`], ['accounts', '/accounts'], ['device', '/console/device'],
    ['consent', await world.consent('mail', 'x'.repeat(60))], ['notice', '/oauth/authorize?client_id=nobody'],
  ] as const) {
    await page.goto(url.startsWith('/') ? world.control + url : url)
    await expect(page.locator('main h1')).toBeVisible()
    // The console's type, and nothing that is refused.
    expect(await page.evaluate(() => document.fonts.load("14px 'Inter Variable'").then((l) => l.length)), name).toBe(1)
    if (name === 'consent') await expect(page.getByRole('heading', { name: 'What may it do?' })).toBeVisible()
    await look(`page-${name}`)
  }
  // By keyboard: the first thing is to sign out, then all that can be answered, in the order in which it is read.
  await page.goto(`${world.control}/approvals/${id}`)
  const stops: string[] = []
  for (let n = 0; n < 12; n++) {
    await page.keyboard.press('Tab')
    stops.push(await page.evaluate(() => document.activeElement?.textContent?.trim().slice(0, 40) ?? ''))
  }
  expect(stops.indexOf('Approve once')).toBeGreaterThan(0)
  expect(stops.indexOf('Deny')).toBe(stops.indexOf('Approve once') + 1)
  expect(wrong).toEqual([])
})
