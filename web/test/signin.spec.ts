import type { Page } from '@playwright/test'
import { expect, signIn, test } from './world'

// Who comes in how, and how they are out again.

const menu = (page: Page, name: string) => page.getByRole('button', { name: `${name}: your menu` })

async function signOut(page: Page, name: string, how = 'Sign out') {
  await menu(page, name).click()
  await page.getByRole('menuitem', { name: how, exact: true }).click()
  await expect(page.getByLabel('Sign-in code')).toBeVisible()
}

test('with an identity provider: back to where one wanted to go, as who it says, with the roles of its groups', async ({ page, world }) => {
  const away = await world.provider()
  try {
    const enter = async (login: string) => {
      await page.getByRole('link', { name: 'Sign in with Acme SSO' }).click()
      await page.locator('input[name=login]').fill(login)
      await page.locator('input[name=password]').fill('x')
      await page.locator('button[type=submit]').click()
      await page.locator('button[type=submit]').click() // yes, Lanyard may know who I am
    }
    await page.goto(`${world.control}/console/identities?state=active`)
    await enter('maya')
    await expect(page).toHaveURL(`${world.control}/console/identities?state=active`)
    await expect(page.getByRole('link', { name: 'invoice-bot', exact: true })).toBeVisible()
    await page.goto(`${world.control}/console/me`)
    await expect(page.getByText('By your organisation’s sign-in · this one')).toBeVisible()
    await signOut(page, 'Maya Lind')
    await page.context().clearCookies() // those of the provider, too
    await page.goto(`${world.control}/console/`)
    await enter('sam+guards')
    await menu(page, 'sam of Acme').click()
    await expect(page.getByRole('menu').getByText('security')).toBeVisible()
    await page.keyboard.press('Escape')
    await page.goto(`${world.control}/console/new`)
    await expect(page.getByText('You may not make agents')).toBeVisible()
    // The provider has not checked this one's address: the page says why that is not enough.
    await signOut(page, 'sam of Acme')
    await page.context().clearCookies()
    await page.goto(`${world.control}/console/`)
    await enter('unsure')
    await expect(page.getByRole('heading', { name: 'You are not signed in' })).toBeVisible()
  } finally {
    away()
  }
})

test('with a passkey: made, used, not used without its owner’s finger, and removed', async ({ page, world, context }) => {
  const cdp = await context.newCDPSession(page)
  await cdp.send('WebAuthn.enable')
  const { authenticatorId } = await cdp.send('WebAuthn.addVirtualAuthenticator', {
    options: { protocol: 'ctap2', transport: 'internal', hasResidentKey: true, hasUserVerification: true, isUserVerified: true, automaticPresenceSimulation: true },
  })
  await signIn(page, world, 'maya', 'me')
  const keys = page.getByRole('region', { name: 'Passkeys' })
  await keys.getByRole('button', { name: 'Add one' }).click()
  await expect(keys.getByText(/made just now/)).toBeVisible()
  await signOut(page, 'Maya Lind')
  await cdp.send('WebAuthn.setUserVerified', { authenticatorId, isUserVerified: false })
  await page.getByRole('button', { name: 'Use a passkey' }).click()
  await expect(page.getByRole('alert')).toContainText('The passkey was not used')
  await cdp.send('WebAuthn.setUserVerified', { authenticatorId, isUserVerified: true })
  await page.getByRole('button', { name: 'Use a passkey' }).click()
  await expect(menu(page, 'Maya Lind')).toBeVisible()
  await page.goto(`${world.control}/console/me`)
  await expect(page.getByText('By a passkey · this one')).toBeVisible()
  await expect(keys.getByText(/last used just now/)).toBeVisible()
  await keys.getByRole('button', { name: 'Remove' }).first().click()
  await expect(keys.getByText('No passkey')).toBeVisible()
  await signOut(page, 'Maya Lind') // what is removed signs nobody in, and nobody is asked for it
  await expect(page.getByRole('button', { name: 'Use a passkey' })).toHaveCount(0)
})

test('signing out everywhere ends the other sessions too; one alone is ended from the list', async ({ page, world, browser }) => {
  await signIn(page, world, 'ben', 'me')
  const there = await (await browser.newContext()).newPage()
  await signIn(there, world, 'ben', 'identities')
  const third = await (await browser.newContext()).newPage()
  await signIn(third, world, 'ben', 'identities')
  await page.reload()
  const list = page.getByRole('region', { name: 'Where you are signed in' })
  await expect(list.getByRole('button', { name: 'End it' }).nth(1)).toBeVisible()
  const before = await list.getByRole('button', { name: 'End it' }).count()
  await list.getByRole('button', { name: 'End it' }).first().click()
  await expect(list.getByRole('button', { name: 'End it' })).toHaveCount(before - 1)
  await signOut(page, 'Ben Okafor', 'Sign out everywhere')
  for (const other of [there, third]) {
    await other.getByLabel('Search identities').fill('support')
    await expect(other.getByText('Your session has ended')).toBeVisible()
    await other.context().close()
  }
})

test('signing out that did not work is said, and nobody is taken to be out', async ({ page, world }) => {
  await signIn(page, world, 'ben')
  await page.route('**/console/sign-out', (r) => r.abort())
  await menu(page, 'Ben Okafor').click()
  await page.getByRole('menuitem', { name: 'Sign out', exact: true }).click()
  await expect(page.getByRole('dialog', { name: 'You are still signed in' })).toBeVisible()
  await page.unroute('**/console/sign-out')
  await page.getByRole('dialog').getByRole('button', { name: 'Try again' }).click()
  await expect(page.getByLabel('Sign-in code')).toBeVisible()
})
