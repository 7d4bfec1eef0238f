using FlashSale.Sales;
using Microsoft.AspNetCore.Http.Features;

namespace FlashSale.Admin.Access;

/// <summary>What a token's holder may do. Each role includes those before it.</summary>
public enum AdminRole
{
    /// <summary>Looks.</summary>
    Viewer,

    /// <summary>Makes and runs sales.</summary>
    Manager,

    /// <summary>Repairs.</summary>
    Operator,
}

/// <summary>The role that an endpoint asks for.</summary>
public sealed record RequiredRole(AdminRole Role);

/// <summary>How endpoints say who may use them, and learn who does.</summary>
public static class RoleExtensions
{
    /// <summary>The role as configuration and the audit log spell it.</summary>
    public static string Text(this AdminRole role) => role switch
    {
        AdminRole.Viewer => "viewer",
        AdminRole.Manager => "manager",
        AdminRole.Operator => "operator",
    };

    /// <summary>Asks for a role.</summary>
    public static TBuilder For<TBuilder>(this TBuilder endpoint, AdminRole role) where TBuilder : IEndpointConventionBuilder =>
        endpoint.WithMetadata(new RequiredRole(role));

    /// <summary>Whether the sender's role reaches that far.</summary>
    public static bool Reaches(this HttpContext context, AdminRole role) => Enum.Parse<AdminRole>(context.Actor().Role, ignoreCase: true) >= role;

    /// <summary>Who sent the request.</summary>
    public static Actor Actor(this HttpContext context) => context.Features.GetRequiredFeature<Actor>();
}
