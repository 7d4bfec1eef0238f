using FlashSale.Sales;
using Microsoft.AspNetCore.Http.Features;

namespace FlashSale.Admin.Access;

/// <summary>The rights of a token's holder. Each role includes those before it.</summary>
public enum AdminRole
{
    /// <summary>May read.</summary>
    Viewer,

    /// <summary>May make and run sales.</summary>
    Manager,

    /// <summary>
    /// May repair: rebuild sales, decide dead letters, refund and cancel orders, change limits, switches and blocklist.
    /// </summary>
    Operator,
}

/// <summary>The role that an endpoint requires.</summary>
public sealed record RequiredRole(AdminRole Role);

/// <summary>Extensions by which an endpoint requires a role, and learns the sender of a request.</summary>
public static class RoleExtensions
{
    /// <summary>The role's name in the configuration and the audit log.</summary>
    public static string Text(this AdminRole role) => role switch
    {
        AdminRole.Viewer => "viewer",
        AdminRole.Manager => "manager",
        AdminRole.Operator => "operator",
    };

    /// <summary>Lets an endpoint require a role.</summary>
    public static TBuilder For<TBuilder>(this TBuilder endpoint, AdminRole role) where TBuilder : IEndpointConventionBuilder =>
        endpoint.WithMetadata(new RequiredRole(role));

    /// <summary>Whether the sender's role is this one or includes it.</summary>
    public static bool Reaches(this HttpContext context, AdminRole role) => Enum.Parse<AdminRole>(context.Actor().Role, ignoreCase: true) >= role;

    /// <summary>The sender of the request, as <see cref="TokenGate"/> has set it.</summary>
    public static Actor Actor(this HttpContext context) => context.Features.GetRequiredFeature<Actor>();
}
