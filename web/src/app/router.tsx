import { createRootRoute, createRoute, createRouter, lazyRouteComponent } from '@tanstack/react-router'
import { consoleBase } from '../api/client'
import { Broken, Nowhere } from '../parts/States'
import { pick } from './search'
import { Shell } from './Shell'

const root = createRootRoute({ component: Shell, validateSearch: pick('cord'), notFoundComponent: Nowhere, errorComponent: Broken })
const under = () => root
const home = createRoute({ getParentRoute: under, path: '/', component: lazyRouteComponent(() => import('../pages/Home')) })
const signIn = createRoute({ getParentRoute: under, path: '/sign-in', validateSearch: pick('to'), component: lazyRouteComponent(() => import('../pages/SignIn')) })
const identities = createRoute({ getParentRoute: under, path: '/identities', validateSearch: pick('q', 'owner', 'state', 'kind', 'environment', 'needs', 'sort'), component: lazyRouteComponent(() => import('../pages/Identities')) })
const identity = createRoute({ getParentRoute: under, path: '/identities/$name', validateSearch: pick('tab', 'outcome'), component: lazyRouteComponent(() => import('../pages/Identity')) })
const fresh = createRoute({ getParentRoute: under, path: '/new', validateSearch: pick('way', 'made'), component: lazyRouteComponent(() => import('../pages/New')) })
const approvals = createRoute({ getParentRoute: under, path: '/approvals', validateSearch: pick('state'), component: lazyRouteComponent(() => import('../pages/Approvals')) })
const approval = createRoute({ getParentRoute: under, path: '/approvals/$id', component: lazyRouteComponent(() => import('../pages/Approval')) })
const policy = createRoute({ getParentRoute: under, path: '/policy', validateSearch: pick('tab', 'edit', 'identity', 'upstream'), component: lazyRouteComponent(() => import('../pages/Policy')) })
const ledger = createRoute({ getParentRoute: under, path: '/ledger', validateSearch: pick('text', 'identity', 'owner', 'upstream', 'action', 'class', 'type', 'outcome', 'by', 'since', 'until', 'task'), component: lazyRouteComponent(() => import('../pages/Ledger')) })
const event = createRoute({ getParentRoute: under, path: '/ledger/$id', component: lazyRouteComponent(() => import('../pages/Event')) })
const upstreams = createRoute({ getParentRoute: under, path: '/upstreams', validateSearch: pick('needs'), component: lazyRouteComponent(() => import('../pages/Upstreams')) })
const upstream = createRoute({ getParentRoute: under, path: '/upstreams/$name', validateSearch: pick('q', 'tab'), component: lazyRouteComponent(() => import('../pages/Upstream')) })
const owners = createRoute({ getParentRoute: under, path: '/owners', validateSearch: pick('q'), component: lazyRouteComponent(() => import('../pages/Owners')) })
const owner = createRoute({ getParentRoute: under, path: '/owners/$name', component: lazyRouteComponent(() => import('../pages/Owner')) })
const gateways = createRoute({ getParentRoute: under, path: '/gateways', component: lazyRouteComponent(() => import('../pages/Gateways')) })
const account = createRoute({ getParentRoute: under, path: '/me', component: lazyRouteComponent(() => import('../pages/Account')) })

const routes = root.addChildren([
  home, signIn, identities, identity, fresh, approvals, approval, policy, ledger, event, upstreams, upstream, owners, owner, gateways, account,
])

export const router = createRouter({
  routeTree: routes,
  basepath: consoleBase.pathname,
  defaultPreload: 'intent',
  scrollRestoration: true,
})

declare module '@tanstack/react-router' {
  interface Register {
    router: typeof router
  }
}
